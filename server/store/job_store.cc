#include "server/store/job_store.h"

#include <utility>

#include "absl/synchronization/notification.h"

namespace dasm {

absl::StatusOr<CommitReceipt> JobStore::Commit(Transaction transaction) {
  absl::Notification finished;
  absl::StatusOr<CommitReceipt> result = absl::UnknownError("not finished");
  Commit(std::move(transaction), [&](absl::StatusOr<CommitReceipt> outcome) {
    result = std::move(outcome);
    finished.Notify();
  });
  finished.WaitForNotification();
  return result;
}

}  // namespace dasm
