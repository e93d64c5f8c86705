#include "queue.h"

#include <algorithm>
#include <cstring>

namespace clip {
namespace {

bool compatible(const Queue::Job& a, const Queue::Job& b) {
  return a.kind == b.kind && a.output == b.output && a.normalise == b.normalise;
}

std::exception_ptr disposed() {
  try {
    throw Error{"ERR_CLIP_DISPOSED", "The model was disposed"};
  } catch (...) {
    return std::current_exception();  // or that there was no memory for the message
  }
}

int64_t rowsOf(const Model& model, const Queue::Job& job) {
  if (job.kind == Queue::Kind::text) {
    int64_t rows = 0;
    for (const int32_t n : job.lengths) rows += n;
    return rows;
  }
  const ModelConfig& c = model.config();
  return static_cast<int64_t>(job.images.size()) * (c.hasImageTower() ? c.imageTokens() : 1);
}

}  // namespace

Queue::Queue(std::unique_ptr<Model> model) : model_(std::move(model)) {
  task_.queue = this;
  task_.run = [](Task* task) { static_cast<Drain*>(task)->queue->drain(); };
}

void Queue::push(JobPtr job) {
  Jobs one{job};
  {
    std::lock_guard lock(mutex_);
    if (!disposed_) {
      job->rows = rowsOf(*model_, *job);
      schedule();  // it takes the lock that we hold, so it will see the job
      waiting_.splice(waiting_.end(), one);
      ++counters_.jobs;
      return;
    }
  }
  job->done(disposed());
}

void Queue::cancel(const JobPtr& job) {
  {
    std::lock_guard lock(mutex_);
    job->cancelled = true;
    const auto at = std::find(waiting_.begin(), waiting_.end(), job);
    if (at == waiting_.end()) return;  // it is running, and its pass will see the flag; or it is already done
    waiting_.erase(at);
  }
  job->done(std::make_exception_ptr(Cancelled{}));
}

void Queue::dispose(std::function<void()> freed) {
  Jobs dropped;
  {
    std::lock_guard lock(mutex_);
    freed_.reserve(freed_.size() + 1);
    schedule();  // a pool thread frees the memory, not the caller
    freed_.push_back(std::move(freed));
    disposed_ = true;
    dropped.swap(waiting_);
  }
  for (const JobPtr& job : dropped) job->done(disposed());
}

void Queue::close() {
  Jobs dropped;  // destroyed after the lock is released
  std::unique_ptr<Model> model;
  std::unique_lock lock(mutex_);
  disposed_ = true;
  closing_ = true;
  dropped.swap(waiting_);
  for (const JobPtr& job : running_) job->cancelled = true;
  passEnded_.wait(lock, [this] { return !inPass_; });
  model.swap(model_);
  lock.unlock();
}

Queue::Counters Queue::counters() const {
  std::lock_guard lock(mutex_);
  Counters c = counters_;
  if (model_) {
    c.imageRows = model_->imageRows;
    c.textRows = model_->textRows;
    c.textNodes = model_->textNodes;
  }
  return c;
}

void Queue::schedule() {
  if (scheduled_) return;
  std::shared_ptr<Queue> self = shared_from_this();
  submit(task_);  // throws if the system refuses to start the pool's first thread
  self_ = std::move(self);
  scheduled_ = true;
}

// Runs one pass per pool task, so that several models and kernel calls share the pool fairly.
void Queue::drain() {
  std::shared_ptr<Queue> self;
  std::vector<std::function<void()>> freed;
  std::unique_ptr<Model> model;
  bool pass = false;
  {
    std::lock_guard lock(mutex_);
    self = std::move(self_);
    scheduled_ = false;
    if (inPass_) return;  // the end of the pass schedules again
    if (waiting_.empty()) {
      if (!disposed_) return;
      if (model_) {
        counters_.imageRows = model_->imageRows;
        counters_.textRows = model_->textRows;
        counters_.textNodes = model_->textNodes;
      }
      model.swap(model_);
      freed.swap(freed_);
    } else {
      take();
      pass = inPass_ = true;
      ++counters_.passes;
    }
  }
  if (!pass) {
    model.reset();
    for (const auto& f : freed) f();
    return;
  }
  {
    const Stoppable scope(&closing_);
    runPass({running_.begin(), running_.end()});
  }
  {
    std::lock_guard lock(mutex_);
    running_.clear();
    inPass_ = false;
    if (!waiting_.empty() || !freed_.empty()) schedule();
    passEnded_.notify_all();
  }
}

// Takes the oldest job and, in order, every waiting one that can run with it: whole jobs, up to maxBatchRows
// rows.
void Queue::take() {
  running_.splice(running_.end(), waiting_, waiting_.begin());
  const Job& first = *running_.front();
  int64_t rows = first.rows;
  const int64_t limit = model_->options().maxBatchRows;
  for (auto at = waiting_.begin(); at != waiting_.end();) {
    const auto job = at++;
    if (!compatible(first, **job)) continue;
    if (rows + (*job)->rows > limit) break;  // stops here, because a smaller job behind it would overtake it
    rows += (*job)->rows;
    running_.splice(running_.end(), waiting_, job);
  }
}

void Queue::runPass(const Pass& jobs) {
  std::exception_ptr failure;
  try {
    if (!encode(jobs)) failure = std::make_exception_ptr(Cancelled{});
  } catch (...) {
    failure = std::current_exception();
  }
  // An error in one input must not fail the other jobs, and if memory ran out it may suffice for one job at a
  // time.
  if (failure && !jobs.single()) {
    for (auto job = jobs.begin(); job != jobs.end(); ++job) runPass({job, std::next(job)});
    return;
  }
  for (const JobPtr& job : jobs) {
    if (job->cancelled)
      job->done(std::make_exception_ptr(Cancelled{}));
    else
      job->done(failure);
  }
}

// Runs one pass through the model for all jobs. Returns false if it was stopped because all of them were
// cancelled.
bool Queue::encode(const Pass& jobs) {
  const Stopped stopped = [&jobs] {
    return std::all_of(jobs.begin(), jobs.end(), [](const JobPtr& j) { return j->cancelled.load(); });
  };
  if (stopped()) return false;
  Job& first = **jobs.begin();
  if (first.kind == Kind::text) {
    std::vector<int32_t> ids, lengths;
    for (const JobPtr& job : jobs) {
      ids.insert(ids.end(), job->ids.begin(), job->ids.end());
      lengths.insert(lengths.end(), job->lengths.begin(), job->lengths.end());
      job->floats =
          model_->textFloats(job->output, job->lengths.data(), static_cast<int>(job->lengths.size()));
      job->out.reset(new float[job->floats]);
    }
    const int texts = static_cast<int>(lengths.size());
    if (jobs.single())
      return model_->encodeTexts(ids.data(), lengths.data(), texts, first.output, first.normalise,
                                 first.out.get(), stopped);
    const size_t floats = model_->textFloats(first.output, lengths.data(), texts);
    const std::unique_ptr<float[]> all(new float[floats]);
    if (!model_->encodeTexts(ids.data(), lengths.data(), texts, first.output, first.normalise, all.get(),
                             stopped))
      return false;
    // 'tokens' is padded to the longest text of the pass; each job gets only as many as its own longest text.
    const size_t perText = floats / texts;
    const float* from = all.get();
    for (const JobPtr& job : jobs) {
      const size_t own = job->floats / job->lengths.size();
      for (size_t i = 0; i < job->lengths.size(); ++i, from += perText)
        std::memcpy(job->out.get() + i * own, from, own * sizeof(float));
    }
    return true;
  }

  if (first.kind == Kind::preprocess) {
    const int size = model_->config().preprocess.size;
    const size_t perImage = size_t{3} * size * size;
    for (const JobPtr& job : jobs) {
      for (size_t i = 0; i < job->images.size(); ++i) {
        if (job->cancelled) break;
        model_->preprocess(job->images[i], job->planes + i * perImage);
      }
    }
    return true;
  }

  std::vector<const Image*> images;
  const size_t perImage = model_->imageFloats(first.output);
  for (const JobPtr& job : jobs) {
    for (const Image& image : job->images) images.push_back(&image);
    job->floats = job->images.size() * perImage;
    job->out.reset(new float[job->floats]);
  }
  const int count = static_cast<int>(images.size());
  if (jobs.single())
    return model_->encodeImages(images.data(), count, first.output, first.normalise, first.out.get(),
                                stopped);
  const std::unique_ptr<float[]> all(new float[images.size() * perImage]);
  if (!model_->encodeImages(images.data(), count, first.output, first.normalise, all.get(), stopped))
    return false;
  const float* from = all.get();
  for (const JobPtr& job : jobs) {
    std::memcpy(job->out.get(), from, job->floats * sizeof(float));
    from += job->floats;
  }
  return true;
}

}  // namespace clip
