// decodeScaled: decodes a JPEG at a fraction of its size on Node's own worker threads, like sharp's images,
// so that the pool is left to the models.
#include "libvips/scaled_jpeg.h"

#include <chrono>
#include <exception>
#include <memory>

#include "binding/convert.h"
#include "binding/job.h"
#include "binding/surface.h"
#include "ops/call.h"

namespace clip::binding {
namespace {

// The work passed to Node's worker threads. It exists until `complete`, which Node always calls, on the
// JavaScript thread.
struct Decoding {
  ScaledJpeg jpeg{};
  std::shared_ptr<Mailbox> mailbox;
  uint64_t ticket = 0;
  std::shared_ptr<int> width = std::make_shared<int>(0);
  napi_async_work work = nullptr;

  static void execute(napi_env, void* data) {
    auto& self = *static_cast<Decoding*>(data);
    if (!self.mailbox->enter()) return;
    std::exception_ptr failure;
    try {
      *self.width = decodeScaled(self.jpeg);
    } catch (...) {
      failure = std::current_exception();
    }
    self.mailbox->post(self.ticket, failure);
    self.mailbox->leave();
  }

  static void complete(napi_env env, napi_status, void* data) {
    const std::unique_ptr<Decoding> self(static_cast<Decoding*>(data));
    napi_delete_async_work(env, self->work);
  }
};

}  // namespace

Napi::Value canDecodeScaled(const Napi::CallbackInfo& info) {
  return throwing(info, [&]() -> Napi::Value { return Napi::Boolean::New(info.Env(), scaledJpegs()); });
}

Napi::Value decodeScaled(const Napi::CallbackInfo& info) {
  return rejecting(info, [&]() -> Napi::Value {
    const Napi::Env env = info.Env();
    Environment& environment = Environment::of(env);
    const Fields f(info[0], "");
    auto decoding = std::make_unique<Decoding>();
    ScaledJpeg& jpeg = decoding->jpeg;
    jpeg.scale = f.integer("scale", 2, 8);
    jpeg.turn = f.boolean("turn");
    jpeg.width = f.integer("width");
    jpeg.height = f.integer("height");
    jpeg.channels = f.integer("channels", 1, 4);
    jpeg.end = std::chrono::steady_clock::now() + std::chrono::milliseconds(f.integer("milliseconds", 0));
    decoding->mailbox = environment.mailbox();
    jpeg.stop = &decoding->mailbox->ended();
    const auto bytes = f.typed<uint8_t>("bytes");
    const auto out = f.typed<uint8_t>(
        "out", ops::product({size_t(jpeg.width), size_t(jpeg.height), size_t(jpeg.channels)}));
    Environment::Call call;
    call.keep.emplace_back(bytes.array, f.path("bytes"), Loan::Use::own);
    call.keep.emplace_back(out.array, f.path("out"), Loan::Use::write);
    jpeg.bytes = call.keep[0].as<const uint8_t>();
    jpeg.length = bytes.length;
    jpeg.out = call.keep[1].as<uint8_t>();
    call.result = [width = decoding->width](Napi::Env e) -> Napi::Value {
      return Napi::Number::New(e, *width);
    };
    return environment.begin(std::move(call), [&](Environment::Ticket ticket) {
      decoding->ticket = ticket;
      const napi_value name = Napi::String::New(env, "clip-native");
      if (napi_create_async_work(env, nullptr, name, Decoding::execute, Decoding::complete, decoding.get(),
                                 &decoding->work) != napi_ok ||
          napi_queue_async_work(env, decoding->work) != napi_ok)
        throw Error{"ERR_CLIP_INTERNAL", "Node refused work for its threads"};
      decoding.release();
    });
  });
}

}  // namespace clip::binding
