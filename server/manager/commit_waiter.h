// Blocks its owner until a commit that it was given to as callback has ended.
#ifndef DASM_SERVER_MANAGER_COMMIT_WAITER_H_
#define DASM_SERVER_MANAGER_COMMIT_WAITER_H_

#include <utility>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/synchronization/notification.h"

namespace dasm {

// Lives longer than the commit. Callback and Wait once each.
class CommitWaiter {
 public:
  absl::AnyInvocable<void(absl::Status)> Callback() {
    return [this](absl::Status result) {
      status_ = std::move(result);
      done_.Notify();
    };
  }
  absl::Status Wait() {
    done_.WaitForNotification();
    return status_;
  }

 private:
  absl::Notification done_;
  absl::Status status_;
};

}  // namespace dasm

#endif  // DASM_SERVER_MANAGER_COMMIT_WAITER_H_
