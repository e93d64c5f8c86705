// Streams, events and graphs: queues of operations that run when something waits for them.
#include <chrono>

#include "standin.h"

namespace standin {
namespace {

double now() {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

CUresult perform(CUcontext context, const Operation& operation) {
  if (context->lost != CUDA_SUCCESS) return context->lost;
  const CUresult r = operation();
  // Any error of a kernel or a copy on the device makes its context unusable.
  if (r != CUDA_SUCCESS) context->lost = r;
  return r;
}

}  // namespace

CUresult drain(CUstream s, const Mark* mark) {
  if (s->queue.empty()) return s->context->lost;
  const WithinReach all;
  while (!s->queue.empty() && !(mark && mark->reached)) {
    const Operation next = std::move(s->queue.front());
    s->queue.pop_front();
    if (perform(s->context, next) != CUDA_SUCCESS) s->queue.clear();
  }
  return s->context->lost;
}

CUresult drainBlocking(CUcontext context) {
  for (CUstream s : context->streams)
    if (s->blocking) drain(s);
  return context->lost;
}

CUresult enqueue(CUstream s, Operation operation) {
  if (!s) {
    if (const CUresult r = drainBlocking(current); r != CUDA_SUCCESS) return r;
    perform(current, operation);
    return CUDA_SUCCESS;  // the error is reported by the next call
  }
  if (s->capture) {
    if (s->captureInvalid) return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    s->capture->operations.push_back(std::move(operation));
    return CUDA_SUCCESS;
  }
  s->queue.push_back(std::move(operation));
  if (machine.eager) drain(s);
  return CUDA_SUCCESS;
}

bool capturing(CUcontext context) {
  for (CUstream s : context->streams)
    if (s->capture && s->captureThread == std::this_thread::get_id()) return true;
  return false;
}

void invalidateCaptures(CUcontext context) {
  for (CUstream s : context->streams)
    if (s->capture && s->captureThread == std::this_thread::get_id()) s->captureInvalid = true;
}

STANDIN cuStreamCreate(CUstream* out, unsigned flags) {
  STANDIN_CALL(cuStreamCreate, kContext);
  if (!out || flags > CU_STREAM_NON_BLOCKING) return CUDA_ERROR_INVALID_VALUE;
  CUstream s = make<CUstream_st>();
  s->blocking = flags == 0;
  current->streams.insert(s);
  *out = s;
  return CUDA_SUCCESS;
}

STANDIN cuStreamDestroy_v2(CUstream s) {
  STANDIN_CALL(cuStreamDestroy, kContext);
  if (!usable(s, "cuStreamDestroy", "stream")) return CUDA_ERROR_INVALID_HANDLE;
  if (s->capture) report("cuStreamDestroy: the stream is being captured");
  drain(s);
  s->alive = false;
  s->capture = nullptr;
  current->streams.erase(s);
  return CUDA_SUCCESS;
}

STANDIN cuStreamSynchronize(CUstream s) {
  STANDIN_CALL(cuStreamSynchronize, kContext | kNotCapturing);
  if (!s) return drainBlocking(current);
  if (!usable(s, "cuStreamSynchronize", "stream")) return CUDA_ERROR_INVALID_HANDLE;
  if (s->capture) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  return drain(s);
}

// Each query lets one operation run.
STANDIN cuStreamQuery(CUstream s) {
  STANDIN_CALL(cuStreamQuery, kContext | kNotCapturing);
  if (!s) return drainBlocking(current);
  if (!usable(s, "cuStreamQuery", "stream")) return CUDA_ERROR_INVALID_HANDLE;
  if (s->capture) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  if (!s->queue.empty()) {
    const Operation next = std::move(s->queue.front());
    s->queue.pop_front();
    if (perform(current, next) != CUDA_SUCCESS) return current->lost;
  }
  return s->queue.empty() ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY;
}

STANDIN cuStreamWaitEvent(CUstream s, CUevent e, unsigned) {
  STANDIN_CALL(cuStreamWaitEvent, kContext);
  if ((s && !usable(s, "cuStreamWaitEvent", "stream")) || !usable(e, "cuStreamWaitEvent", "event"))
    return CUDA_ERROR_INVALID_HANDLE;
  if (!e->mark) return CUDA_SUCCESS;  // never recorded: nothing to wait for
  if (s && s->capture) {
    report("cuStreamWaitEvent: captures of several streams are not in the stand-in");
    s->captureInvalid = true;
    return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  }
  return enqueue(s,
                 [mark = e->mark] { return mark->reached ? CUDA_SUCCESS : drain(mark->stream, mark.get()); });
}

STANDIN cuEventCreate(CUevent* out, unsigned flags) {
  STANDIN_CALL(cuEventCreate, kContext);
  if (!out || flags > 3) return CUDA_ERROR_INVALID_VALUE;
  *out = make<CUevent_st>();
  (*out)->timing = !(flags & CU_EVENT_DISABLE_TIMING);
  return CUDA_SUCCESS;
}

STANDIN cuEventDestroy_v2(CUevent e) {
  STANDIN_CALL(cuEventDestroy, kContext);
  if (!usable(e, "cuEventDestroy", "event")) return CUDA_ERROR_INVALID_HANDLE;
  e->alive = false;
  return CUDA_SUCCESS;
}

STANDIN cuEventRecord(CUevent e, CUstream s) {
  STANDIN_CALL(cuEventRecord, kContext);
  if (!usable(e, "cuEventRecord", "event") || (s && !usable(s, "cuEventRecord", "stream")))
    return CUDA_ERROR_INVALID_HANDLE;
  if (s && s->capture) {
    report("cuEventRecord: events in a capture are not in the stand-in");
    s->captureInvalid = true;
    return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  }
  e->mark = std::make_shared<Mark>();
  e->mark->stream = s;
  return enqueue(s, [mark = e->mark] {
    mark->reached = true;
    mark->milliseconds = now();
    return CUDA_SUCCESS;
  });
}

STANDIN cuEventQuery(CUevent e) {
  STANDIN_CALL(cuEventQuery, kContext | kNotCapturing);
  if (!usable(e, "cuEventQuery", "event")) return CUDA_ERROR_INVALID_HANDLE;
  if (!e->mark || e->mark->reached) return CUDA_SUCCESS;
  if (!e->mark->stream->queue.empty()) {
    const Operation next = std::move(e->mark->stream->queue.front());
    e->mark->stream->queue.pop_front();
    if (perform(current, next) != CUDA_SUCCESS) return current->lost;
  }
  return e->mark->reached ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY;
}

STANDIN cuEventSynchronize(CUevent e) {
  STANDIN_CALL(cuEventSynchronize, kContext | kNotCapturing);
  if (!usable(e, "cuEventSynchronize", "event")) return CUDA_ERROR_INVALID_HANDLE;
  return !e->mark || e->mark->reached ? CUDA_SUCCESS : drain(e->mark->stream, e->mark.get());
}

STANDIN cuEventElapsedTime(float* out, CUevent from, CUevent to) {
  STANDIN_CALL(cuEventElapsedTime, kContext);
  if (!usable(from, "cuEventElapsedTime", "event") || !usable(to, "cuEventElapsedTime", "event") ||
      !from->timing || !to->timing || !from->mark || !to->mark)
    return CUDA_ERROR_INVALID_HANDLE;
  if (!from->mark->reached || !to->mark->reached) return CUDA_ERROR_NOT_READY;
  *out = static_cast<float>(to->mark->milliseconds - from->mark->milliseconds);
  return CUDA_SUCCESS;
}

STANDIN cuStreamBeginCapture_v2(CUstream s, CUstreamCaptureMode mode) {
  STANDIN_CALL(cuStreamBeginCapture, kContext);
  if (!s || !usable(s, "cuStreamBeginCapture", "stream")) return CUDA_ERROR_INVALID_HANDLE;
  if (mode != CU_STREAM_CAPTURE_MODE_THREAD_LOCAL || s->capture) return CUDA_ERROR_INVALID_VALUE;
  s->capture = std::make_shared<GraphBody>();
  s->captureInvalid = false;
  s->captureThread = std::this_thread::get_id();
  return CUDA_SUCCESS;
}

STANDIN cuStreamEndCapture(CUstream s, CUgraph* out) {
  STANDIN_CALL(cuStreamEndCapture, kContext);
  if (!s || !usable(s, "cuStreamEndCapture", "stream")) return CUDA_ERROR_INVALID_HANDLE;
  if (!out || !s->capture) return CUDA_ERROR_INVALID_VALUE;
  if (s->captureThread != std::this_thread::get_id()) return CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD;
  const auto body = std::move(s->capture);
  s->capture = nullptr;
  *out = nullptr;
  if (s->captureInvalid) return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
  *out = make<CUgraph_st>();
  (*out)->body = body;
  return CUDA_SUCCESS;
}

STANDIN cuStreamIsCapturing(CUstream s, CUstreamCaptureStatus* out) {
  STANDIN_CALL(cuStreamIsCapturing, kContext);
  if (!s || !usable(s, "cuStreamIsCapturing", "stream")) return CUDA_ERROR_INVALID_HANDLE;
  *out = !s->capture         ? CU_STREAM_CAPTURE_STATUS_NONE
         : s->captureInvalid ? CU_STREAM_CAPTURE_STATUS_INVALIDATED
                             : CU_STREAM_CAPTURE_STATUS_ACTIVE;
  return CUDA_SUCCESS;
}

STANDIN cuGraphGetNodes(CUgraph g, CUgraphNode* nodes, size_t* count) {
  STANDIN_CALL(cuGraphGetNodes, kContext);
  if (!usable(g, "cuGraphGetNodes", "graph")) return CUDA_ERROR_INVALID_HANDLE;
  if (nodes || !count) return CUDA_ERROR_INVALID_VALUE;  // only the number of nodes is supported
  *count = g->body->operations.size();
  return CUDA_SUCCESS;
}

STANDIN cuGraphInstantiateWithFlags(CUgraphExec* out, CUgraph g, unsigned long long flags) {
  STANDIN_CALL(cuGraphInstantiate, kContext);
  if (!usable(g, "cuGraphInstantiate", "graph")) return CUDA_ERROR_INVALID_HANDLE;
  if (!out || flags) return CUDA_ERROR_INVALID_VALUE;
  *out = make<CUgraphExec_st>();
  (*out)->body = g->body;
  return CUDA_SUCCESS;
}

STANDIN cuGraphLaunch(CUgraphExec e, CUstream s) {
  STANDIN_CALL(cuGraphLaunch, kContext);
  if (!usable(e, "cuGraphLaunch", "executable graph") || (s && !usable(s, "cuGraphLaunch", "stream")))
    return CUDA_ERROR_INVALID_HANDLE;
  return enqueue(s, [body = e->body] {
    for (const Operation& operation : body->operations)
      if (const CUresult r = operation(); r != CUDA_SUCCESS) return r;
    return CUDA_SUCCESS;
  });
}

STANDIN cuGraphExecDestroy(CUgraphExec e) {
  STANDIN_CALL(cuGraphExecDestroy, kContext);
  if (!usable(e, "cuGraphExecDestroy", "executable graph")) return CUDA_ERROR_INVALID_HANDLE;
  e->alive = false;
  e->body = nullptr;
  return CUDA_SUCCESS;
}

STANDIN cuGraphDestroy(CUgraph g) {
  STANDIN_CALL(cuGraphDestroy, kContext);
  if (!usable(g, "cuGraphDestroy", "graph")) return CUDA_ERROR_INVALID_HANDLE;
  g->alive = false;
  g->body = nullptr;
  return CUDA_SUCCESS;
}

}  // namespace standin
