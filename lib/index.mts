/** What `import` gives: the same module that `require()` gives, so that there is one of every class and one state. */
export * from './index.js'
