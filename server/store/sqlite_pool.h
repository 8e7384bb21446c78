// A few connections shared by many threads.
#ifndef DASM_SERVER_STORE_SQLITE_POOL_H_
#define DASM_SERVER_STORE_SQLITE_POOL_H_

#include <memory>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "server/store/sqlite_connection.h"

namespace dasm {

// Thread-safe. Connections are opened when first needed and kept.
class SqlitePool {
 public:
  // Gives the connection back when it goes; the pool must outlive it.
  class Lease {
   public:
    Lease(Lease&& other) = default;
    Lease& operator=(Lease&&) = delete;
    ~Lease() {
      if (connection_ != nullptr) pool_->Return(std::move(connection_));
    }
    SqliteConnection& operator*() { return *connection_; }

   private:
    friend class SqlitePool;
    Lease(SqlitePool* pool, std::unique_ptr<SqliteConnection> connection)
        : pool_(pool), connection_(std::move(connection)) {}
    SqlitePool* const pool_;
    std::unique_ptr<SqliteConnection> connection_;
  };

  // At most `limit` connections; `first` is one of them unless null.
  SqlitePool(SqliteConnection::Options options,
             std::unique_ptr<SqliteConnection> first, int limit)
      : options_(std::move(options)), free_(limit) {
    if (first != nullptr) idle_.push_back(std::move(first));
  }

  // Waits while all are lent. Errors as SqliteConnection::Open.
  absl::StatusOr<Lease> Acquire();

 private:
  void Return(std::unique_ptr<SqliteConnection> connection);

  const SqliteConnection::Options options_;
  absl::Mutex mutex_;
  std::vector<std::unique_ptr<SqliteConnection>> idle_ ABSL_GUARDED_BY(mutex_);
  int free_ ABSL_GUARDED_BY(mutex_);  // how many more may be lent
};

}  // namespace dasm

#endif  // DASM_SERVER_STORE_SQLITE_POOL_H_
