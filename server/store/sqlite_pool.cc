#include "server/store/sqlite_pool.h"

namespace dasm {

absl::StatusOr<SqlitePool::Lease> SqlitePool::Acquire() {
  {
    absl::MutexLock lock(&mutex_);
    mutex_.Await(absl::Condition(
        +[](int* free) { return *free > 0; }, &free_));
    --free_;
    if (!idle_.empty()) {
      Lease lease(this, std::move(idle_.back()));
      idle_.pop_back();
      return lease;
    }
  }
  absl::StatusOr<std::unique_ptr<SqliteConnection>> opened =
      SqliteConnection::Open(options_);
  if (!opened.ok()) {
    absl::MutexLock lock(&mutex_);
    ++free_;
    return opened.status();
  }
  return Lease(this, *std::move(opened));
}

void SqlitePool::Return(std::unique_ptr<SqliteConnection> connection) {
  absl::MutexLock lock(&mutex_);
  idle_.push_back(std::move(connection));
  ++free_;
}

}  // namespace dasm
