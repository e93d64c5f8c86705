# Writes cpu/every_kernel.inl, which includes every file of kernels/, for kernels.inl. A CMakeLists.txt that compiles
# native/cpu/*.cc includes this file.
get_filename_component(CLIP_NATIVE ${CMAKE_CURRENT_LIST_DIR}/.. ABSOLUTE)
file(GLOB CLIP_CPU_KERNELS RELATIVE ${CLIP_NATIVE} CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/kernels/*.inl)
list(TRANSFORM CLIP_CPU_KERNELS REPLACE "(.+)" "#include \"\\1\"")
list(JOIN CLIP_CPU_KERNELS "\n" CLIP_CPU_KERNELS)
file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/generated/cpu/every_kernel.inl CONTENT "${CLIP_CPU_KERNELS}\n")
include_directories(${CMAKE_BINARY_DIR}/generated)
