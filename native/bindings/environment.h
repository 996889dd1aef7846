// What belongs to one Node environment (the main thread or a worker): the way back onto its thread, its background
// threads and its engines. All of it ends with the environment, also when a worker is terminated.
#pragma once

#include <napi.h>

#include <atomic>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <thread>
#include <unordered_set>
#include <utility>
#include <vector>

namespace lowrank::bindings {

class EngineBinding;

class Environment {
 public:
  explicit Environment(Napi::Env env);
  ~Environment();
  static Environment& of(Napi::Env env) { return *env.GetInstanceData<Environment>(); }

  using Task = std::function<void(Napi::Env)>;

  // Any thread: runs `task` on the environment's thread, in order. Dropped where the environment is ending.
  void post(Task task) { queue_->post(std::move(task)); }

  // A reference to a JavaScript value that any thread may let go of: it is deleted on the environment's thread.
  template <class Reference>
  std::shared_ptr<Reference> keep(Reference&& reference) {
    return std::shared_ptr<Reference>(new Reference(std::move(reference)), [queue = queue_](Reference* kept) {
      if (queue->post([kept](Napi::Env) { delete kept; })) return;
      kept->SuppressDestruct();
      delete kept;
    });
  }

  // Environment's thread: while held, the process stays alive for what is under way.
  void hold();
  void release();

  // Environment's thread: runs `work` on a thread of its own; what it returns then runs on the environment's thread.
  // Holds the environment meanwhile. `work` must not throw.
  void start(std::function<Task()> work);

  // Work that runs long asks this now and then, and gives up.
  bool ending() const { return *ending_; }
  std::shared_ptr<const std::atomic<bool>> ending_flag() const { return ending_; }

  Napi::FunctionReference engine_class;
  Napi::FunctionReference error_class;
  std::unordered_set<EngineBinding*> engines;

 private:
  static void drain(napi_env env, napi_value callback, void* context, void* data);

  struct Queue {  // outlives the environment where a thread still holds a reference
    bool post(Task&& task);  // false where closed
    // Whether the function keeps the process alive.
    void keep_alive(napi_env env, bool alive);
    // Nothing is posted any more. Gives the function back, unless Node has told that it is closing.
    void close(napi_threadsafe_function_release_mode mode);
    std::mutex mutex;
    std::vector<Task> tasks;
    napi_threadsafe_function function = nullptr;  // null once it is given back
    bool scheduled = false;
  };
  std::shared_ptr<Queue> queue_;
  napi_env env_;
  int holds_ = 0;
  std::shared_ptr<std::atomic<bool>> ending_ = std::make_shared<std::atomic<bool>>(false);
  std::list<std::thread> threads_;
};

// Runs `work` off the environment's thread and settles the promise that it returns with what `convert` makes of its
// result, or with the package's error class.
template <class Result>
Napi::Promise run_async(Napi::Env env, std::function<Result()> work, std::function<Napi::Value(Napi::Env, Result&&)> convert);

}  // namespace lowrank::bindings

#include "bindings/run_async.h"
