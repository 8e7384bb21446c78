#include "server/manager/event_hub.h"

#include <utility>

namespace dasm {
namespace {

// The listeners that still exist; the others are dropped from the list.
std::vector<std::shared_ptr<JobListener>> Alive(
    std::vector<std::weak_ptr<JobListener>>* listeners) {
  std::vector<std::shared_ptr<JobListener>> alive;
  std::erase_if(*listeners, [&](const std::weak_ptr<JobListener>& listener) {
    std::shared_ptr<JobListener> held = listener.lock();
    if (held == nullptr) return true;
    alive.push_back(std::move(held));
    return false;
  });
  return alive;
}

}  // namespace

void EventHub::Listen(const std::string& job,
                      std::weak_ptr<JobListener> listener) {
  std::shared_ptr<JobListener> late;
  {
    absl::MutexLock lock(&mutex_);
    if (closed_) {
      late = listener.lock();
    } else {
      auto& listeners = listeners_[job];
      Alive(&listeners);
      listeners.push_back(std::move(listener));
    }
  }
  if (late != nullptr) late->OnNotice({.kind = JobNotice::Kind::kClosing});
}

void EventHub::Notify(const std::string& job, const JobNotice& notice) {
  std::vector<std::shared_ptr<JobListener>> alive;
  {
    absl::MutexLock lock(&mutex_);
    const auto it = listeners_.find(job);
    if (it == listeners_.end()) return;
    alive = Alive(&it->second);
    if (it->second.empty()) listeners_.erase(it);
  }
  for (const auto& listener : alive) listener->OnNotice(notice);
}

void EventHub::Close() {
  std::vector<std::shared_ptr<JobListener>> alive;
  {
    absl::MutexLock lock(&mutex_);
    closed_ = true;
    for (auto& [job, listeners] : listeners_) {
      for (auto& listener : Alive(&listeners)) alive.push_back(listener);
    }
    listeners_.clear();
  }
  for (const auto& listener : alive) {
    listener->OnNotice({.kind = JobNotice::Kind::kClosing});
  }
}

}  // namespace dasm
