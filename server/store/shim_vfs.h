// A disk with faults under SQLite: passes every call to SQLite's own VFS, and
// on the way delays or fails fsyncs, fills up, or forgets what was not synced.
// For tests and for benches that need a slow disk on a fast one.
//
// Thread-safe. Registered with SQLite under name() from construction to
// destruction; must outlive every connection that was opened with it.
#ifndef DASM_SERVER_STORE_SHIM_VFS_H_
#define DASM_SERVER_STORE_SHIM_VFS_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace dasm {

class ShimVfs {
 public:
  struct Options {
    absl::Duration sync_delay = absl::ZeroDuration();  // of every fsync
    // Keeps the unsynced writes of database and WAL in memory, as
    // CopyAfterPowerLoss needs.
    bool track_unsynced = false;
  };
  explicit ShimVfs(const Options& options);
  ~ShimVfs();
  ShimVfs(const ShimVfs&) = delete;
  ShimVfs& operator=(const ShimVfs&) = delete;

  const std::string& name() const;

  // The disk takes `bytes` more, over all files; a write that goes beyond is
  // cut there and fails as ENOSPC. Negative: no limit (the start).
  void SetFreeBytes(int64_t bytes);
  // The next `count` fsyncs fail with an I/O error and sync nothing.
  void FailSyncs(int count);
  // Fsyncs that succeeded.
  int64_t syncs() const;

  // Writes to `to` (and `to`-wal) what a power loss at this instant would leave
  // of the database `from`: all that was synced, and of the writes since then a
  // subset chosen by `seed`; 0 keeps none of them. Needs track_unsynced and the
  // database opened through this VFS by the same `from`. Temporary files and
  // the WAL index are left out: SQLite makes them anew.
  absl::Status CopyAfterPowerLoss(const std::string& from,
                                  const std::string& to, uint64_t seed);

  // Shared with the C callbacks of the VFS (shim_vfs.cc).
  struct State;

 private:
  const std::unique_ptr<State> state_;
};

}  // namespace dasm

#endif  // DASM_SERVER_STORE_SHIM_VFS_H_
