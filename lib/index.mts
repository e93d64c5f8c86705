/** The entry point for `import`: the same module as for `require()`, so that every class and all state exist only once. */
export * from './index.js'
