# node-gyp's door to CMakeLists.txt, the one real build (electron-rebuild and `node-gyp rebuild` come through here).
{
  'targets': [{
    'target_name': 'clip_native',
    'type': 'none',
    'actions': [{
      'action_name': 'cmake',
      'inputs': ['CMakeLists.txt'],
      'outputs': ['<(PRODUCT_DIR)/clip_native.node'],
      'action': ['node', 'node_modules/cmake-js/bin/cmake-js', 'build', '--out', 'build/cmake']
    }]
  }]
}
