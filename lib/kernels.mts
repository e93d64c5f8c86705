/** What `import` gives: the same module that `require()` gives. */
export * from './kernels.js'
