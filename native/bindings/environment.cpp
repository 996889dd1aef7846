#include "bindings/environment.h"

#include <atomic>
#include <utility>

#include "bindings/engine_binding.h"

namespace lowrank::bindings {

Environment::Environment(Napi::Env env) : queue_(std::make_shared<Queue>()), env_(env) {
  auto* context = new std::shared_ptr<Queue>(queue_);
  const napi_value name = Napi::String::New(env, "lowrank");
  const napi_status status = napi_create_threadsafe_function(
      env, nullptr, nullptr, name, 0, 1, nullptr,
      [](napi_env, void*, void* hint) {
        // Node closes the function before it ends the environment, and holds its lock while it does the latter (Node 24):
        // this is the last moment to give it back.
        const std::unique_ptr<std::shared_ptr<Queue>> queue(static_cast<std::shared_ptr<Queue>*>(hint));
        (*queue)->close(napi_tsfn_release);
      },
      context, drain, &queue_->function);
  if (status != napi_ok) {
    delete context;
    throw Napi::Error::New(env, "lowrank: no thread-safe function could be made");
  }
  queue_->keep_alive(env, false);
}

// Runs as the finaliser of the instance data, when the environment ends: nothing may touch it afterwards.
Environment::~Environment() {
  *ending_ = true;
  queue_->close(napi_tsfn_abort);
  for (EngineBinding* engine : engines) engine->shut_down();
  for (std::thread& thread : threads_) thread.join();
  std::vector<Task> dropped;
  {
    std::lock_guard<std::mutex> lock(queue_->mutex);
    dropped.swap(queue_->tasks);
  }
}

bool Environment::Queue::post(Task&& task) {
  std::lock_guard<std::mutex> lock(mutex);
  if (function == nullptr) return false;
  tasks.push_back(std::move(task));
  if (scheduled) return true;
  const napi_status status = napi_call_threadsafe_function(function, nullptr, napi_tsfn_nonblocking);
  scheduled = status == napi_ok;
  if (status != napi_closing) return true;
  // The call has given the function back.
  function = nullptr;
  task = std::move(tasks.back());
  tasks.pop_back();
  return false;
}

void Environment::Queue::keep_alive(napi_env env, bool alive) {
  std::lock_guard<std::mutex> lock(mutex);
  if (function == nullptr) return;
  if (alive)
    napi_ref_threadsafe_function(env, function);
  else
    napi_unref_threadsafe_function(env, function);
}

void Environment::Queue::close(napi_threadsafe_function_release_mode mode) {
  napi_threadsafe_function given_back = nullptr;
  {
    std::lock_guard<std::mutex> lock(mutex);
    std::swap(given_back, function);
  }
  if (given_back != nullptr) napi_release_threadsafe_function(given_back, mode);
}

void Environment::drain(napi_env env, napi_value, void* context, void*) {
  if (env == nullptr) return;
  const std::shared_ptr<Queue> queue = *static_cast<std::shared_ptr<Queue>*>(context);
  std::vector<Task> tasks;
  {
    std::lock_guard<std::mutex> lock(queue->mutex);
    tasks.swap(queue->tasks);
    queue->scheduled = false;
  }
  for (Task& task : tasks) {
    Napi::HandleScope scope(env);
    try {
      task(Napi::Env(env));
    } catch (const Napi::Error& error) {
      // A callback of the package threw: as uncaught as any exception of an event handler.
      napi_fatal_exception(env, error.Value());
    }
  }
}

void Environment::hold() {
  if (holds_++ == 0) queue_->keep_alive(env_, true);
}

void Environment::release() {
  if (--holds_ == 0) queue_->keep_alive(env_, false);
}

void Environment::start(std::function<Task()> work) {
  hold();
  const auto place = threads_.emplace(threads_.end());
  try {
    *place = std::thread([this, place, work = std::move(work)] {
      Task then = work();
      post([this, place, then = std::move(then)](Napi::Env env) {
        place->join();
        threads_.erase(place);
        release();
        then(env);
      });
    });
  } catch (...) {
    threads_.erase(place);
    release();
    throw;
  }
}

}  // namespace lowrank::bindings
