// Tells watchers of a job that something new is durable. What exactly, they
// read from the store: a notice lost or doubled changes nothing. Only progress
// travels in the notice itself, because it is not stored.
#ifndef DASM_SERVER_MANAGER_EVENT_HUB_H_
#define DASM_SERVER_MANAGER_EVENT_HUB_H_

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace dasm {

// What a running task says about itself; kept in memory only.
struct TaskProgress {
  int64_t step = 0;
  int64_t total_steps = 0;
  double steps_per_second = 0;
  double value = 0;
  std::string series;
  absl::Time time = absl::InfinitePast();  // InfinitePast: none yet
};

struct JobNotice {
  enum class Kind {
    kEvents,    // the job's events in the store grew
    kProgress,  // `task` and `progress`
    kLines,     // log lines were appended
    kClosing,   // the server stops: end the stream with UNAVAILABLE
  };
  Kind kind = Kind::kEvents;
  std::string task;
  TaskProgress progress;
};

class JobListener {
 public:
  virtual ~JobListener() = default;
  // Called from any thread with no lock of the hub or the manager held; must
  // not block.
  virtual void OnNotice(const JobNotice& notice) = 0;
};

// Thread-safe.
class EventHub {
 public:
  // The hub forgets a listener when it is gone. After Close, answers at once
  // with kClosing.
  void Listen(const std::string& job, std::weak_ptr<JobListener> listener);
  void Notify(const std::string& job, const JobNotice& notice);
  // Sends kClosing to everybody, now and in future.
  void Close();

 private:
  absl::Mutex mutex_;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  std::map<std::string, std::vector<std::weak_ptr<JobListener>>> listeners_
      ABSL_GUARDED_BY(mutex_);
};

}  // namespace dasm

#endif  // DASM_SERVER_MANAGER_EVENT_HUB_H_
