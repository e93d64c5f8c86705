/** The entry point for `import`: the same module as for `require()`. */
export * from './kernels.js'
