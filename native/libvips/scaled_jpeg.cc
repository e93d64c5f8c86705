#include "libvips/scaled_jpeg.h"

#include <cstring>
#include <memory>
#include <mutex>
#include <string>

#if defined(__linux__)
#include <dlfcn.h>
#include <link.h>
#elif defined(__APPLE__)
#include <dlfcn.h>
#include <mach-o/dyld.h>
#endif

namespace clip {
namespace {

// The part of libvips's C interface that is used here. It has not changed since libvips 8.5, and all releases
// have the ABI version 42.
struct VipsImage;
constexpr int kUchar = 0;       // VIPS_FORMAT_UCHAR
constexpr int kSequential = 1;  // VIPS_ACCESS_SEQUENTIAL
constexpr int kError = 2;       // VIPS_FAIL_ON_ERROR, sharp's failOn: 'error'

struct Libvips {
  int (*vips_jpegload_buffer)(void* bytes, size_t length, VipsImage** out, ...);
  VipsImage* (*vips_image_new_from_memory)(const void* data, size_t size, int width, int height, int bands,
                                           int format);
  int (*vips_image_write)(VipsImage* image, VipsImage* out);
  int (*vips_image_get_width)(const VipsImage* image);
  int (*vips_image_get_height)(const VipsImage* image);
  int (*vips_image_get_bands)(const VipsImage* image);
  int (*vips_image_get_format)(const VipsImage* image);
  void (*vips_image_set_progress)(VipsImage* image, int progress);
  void (*vips_image_set_kill)(VipsImage* image, int kill);
  void (*vips_error_clear)();
  void (*vips_thread_shutdown)();
  unsigned long (*g_signal_connect_data)(void* instance, const char* signal, void (*handler)(), void* data,
                                         void (*destroy)(), int flags);
  void (*g_object_unref)(void* object);
};

#if defined(__linux__) || defined(__APPLE__)

// The name of a libvips library loaded in this process: sharp's own is called libvips-cpp, and a system may
// have both.
std::string loadedLibvips() {
  std::string found;
  const auto isVips = [](const char* path) {
    const char* name = std::strrchr(path, '/');
    return std::strncmp(name ? name + 1 : path, "libvips", 7) == 0;
  };
#if defined(__linux__)
  const auto look = [&](const char* path) {
    if (path && isVips(path)) found = path;
  };
  dl_iterate_phdr(
      [](dl_phdr_info* info, size_t, void* data) {
        (*static_cast<decltype(look)*>(data))(info->dlpi_name);
        return 0;
      },
      const_cast<void*>(static_cast<const void*>(&look)));
#else
  for (uint32_t i = 0; i < _dyld_image_count(); i++)
    if (const char* path = _dyld_get_image_name(i); path && isVips(path)) found = path;
#endif
  return found;
}

bool open(Libvips& vips) {
  const std::string path = loadedLibvips();
  // Not closed, because the library must stay loaded while it is used.
  void* handle = path.empty() ? nullptr : dlopen(path.c_str(), RTLD_LAZY | RTLD_NOLOAD);
  if (!handle) return false;
#define CLIP_VIPS_FUNCTION(name)                                           \
  vips.name = reinterpret_cast<decltype(vips.name)>(dlsym(handle, #name)); \
  if (!vips.name) return false
  CLIP_VIPS_FUNCTION(vips_jpegload_buffer);
  CLIP_VIPS_FUNCTION(vips_image_new_from_memory);
  CLIP_VIPS_FUNCTION(vips_image_write);
  CLIP_VIPS_FUNCTION(vips_image_get_width);
  CLIP_VIPS_FUNCTION(vips_image_get_height);
  CLIP_VIPS_FUNCTION(vips_image_get_bands);
  CLIP_VIPS_FUNCTION(vips_image_get_format);
  CLIP_VIPS_FUNCTION(vips_image_set_progress);
  CLIP_VIPS_FUNCTION(vips_image_set_kill);
  CLIP_VIPS_FUNCTION(vips_error_clear);
  CLIP_VIPS_FUNCTION(vips_thread_shutdown);
  CLIP_VIPS_FUNCTION(g_signal_connect_data);
  CLIP_VIPS_FUNCTION(g_object_unref);
#undef CLIP_VIPS_FUNCTION
  return true;
}

#else

bool open(Libvips&) { return false; }

#endif

// Returns nullptr until sharp has been loaded.
const Libvips* libvips() {
  static std::mutex mutex;
  static Libvips vips;
  static bool isOpen = false;
  const std::lock_guard lock(mutex);
  if (!isOpen) isOpen = open(vips);
  return isOpen ? &vips : nullptr;
}

struct Watch {
  const Libvips& vips;
  const ScaledJpeg& job;
};

// libvips calls this after each piece of the image.
void onEval(VipsImage* image, void*, void* data) {
  const Watch& watch = *static_cast<const Watch*>(data);
  if (*watch.job.stop || std::chrono::steady_clock::now() >= watch.job.end)
    watch.vips.vips_image_set_kill(image, 1);
}

}  // namespace

bool scaledJpegs() { return libvips() != nullptr; }

int decodeScaled(const ScaledJpeg& job) {
  const Libvips* const found = libvips();
  if (!found) return 0;
  const Libvips& vips = *found;
  struct Unref {
    const Libvips& vips;
    void operator()(VipsImage* image) const { vips.g_object_unref(image); }
  };
  using Image = std::unique_ptr<VipsImage, Unref>;
  int width = 0;
  {
    Watch watch{vips, job};
    VipsImage* opened = nullptr;
    const int failed = vips.vips_jpegload_buffer(const_cast<uint8_t*>(job.bytes), job.length, &opened,  //
                                                 "shrink", job.scale, "autorotate", job.turn ? 1 : 0,   //
                                                 "access", kSequential, "fail_on", kError,
                                                 static_cast<const char*>(nullptr));
    const Image image(failed ? nullptr : opened, Unref{vips});
    const int w = image ? vips.vips_image_get_width(image.get()) : 0,
              h = image ? vips.vips_image_get_height(image.get()) : 0;
    const bool isExpected =
        (w == job.width && h == job.height) || (job.turn && w == job.height && h == job.width);
    if (image && isExpected && vips.vips_image_get_bands(image.get()) == job.channels &&
        vips.vips_image_get_format(image.get()) == kUchar) {
      vips.vips_image_set_progress(image.get(), 1);
      vips.g_signal_connect_data(image.get(), "eval", reinterpret_cast<void (*)()>(onEval), &watch, nullptr,
                                 0);
      // libvips writes to an image in our memory, as its vips_image_write_to_memory does.
      const Image out(
          vips.vips_image_new_from_memory(job.out, size_t(w) * h * job.channels, w, h, job.channels, kUchar),
          Unref{vips});
      if (out && vips.vips_image_write(image.get(), out.get()) == 0) width = w;
    }
  }
  // libvips keeps error messages and buffers per thread; this leaves them in the same state as sharp does.
  if (width == 0) vips.vips_error_clear();
  vips.vips_thread_shutdown();
  return width;
}

}  // namespace clip
