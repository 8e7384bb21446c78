#include "server/store/shim_vfs.h"

#include <sqlite3.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <fstream>
#include <map>
#include <new>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"

namespace dasm {
namespace {

// A change of a file since its last fsync: bytes put at an offset, or a new
// length.
struct Change {
  int64_t offset = 0;
  std::string bytes;
  bool truncate = false;  // to `offset`
};

// What is on the disk for sure, and what was written on top of it.
struct Image {
  std::string synced;
  std::vector<Change> changes;
};

void ApplyChange(const Change& change, std::string* content) {
  const size_t offset = static_cast<size_t>(change.offset);
  if (change.truncate) {
    content->resize(offset);
    return;
  }
  if (content->size() < offset + change.bytes.size()) {
    content->resize(offset + change.bytes.size());
  }
  content->replace(offset, change.bytes.size(), change.bytes);
}

// SplitMix64: a coin for each unsynced change, the same for the same seed.
uint64_t Mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

}  // namespace

struct ShimVfs::State {
  std::string name;
  Options options;
  sqlite3_vfs vfs = {};
  sqlite3_vfs* real = nullptr;

  mutable absl::Mutex mutex;
  int64_t free_bytes ABSL_GUARDED_BY(mutex) = -1;
  int failing_syncs ABSL_GUARDED_BY(mutex) = 0;
  int64_t syncs ABSL_GUARDED_BY(mutex) = 0;
  // Of databases and WALs, by path, when track_unsynced. Outlives the handles,
  // as a file does.
  std::map<std::string, Image> images ABSL_GUARDED_BY(mutex);
};

namespace {

// SQLite allocates szOsFile bytes for this; the real VFS's file lies behind.
struct ShimFile {
  sqlite3_file base;
  ShimVfs::State* state;
  const char* tracked_path;  // null: not tracked; owned by SQLite until close
  sqlite3_file* real;
};

ShimFile* Shim(sqlite3_file* file) { return reinterpret_cast<ShimFile*>(file); }
sqlite3_file* Real(sqlite3_file* file) { return Shim(file)->real; }
ShimVfs::State* StateOf(sqlite3_vfs* vfs) {
  return static_cast<ShimVfs::State*>(vfs->pAppData);
}

int Close(sqlite3_file* file) {
  return Real(file)->pMethods->xClose(Real(file));
}

int Read(sqlite3_file* file, void* to, int bytes, sqlite3_int64 offset) {
  return Real(file)->pMethods->xRead(Real(file), to, bytes, offset);
}

int Write(sqlite3_file* file, const void* from, int bytes,
          sqlite3_int64 offset) {
  ShimVfs::State* state = Shim(file)->state;
  absl::MutexLock lock(&state->mutex);
  int fitting = bytes;
  if (state->free_bytes >= 0) {
    fitting = static_cast<int>(std::min<int64_t>(bytes, state->free_bytes));
    state->free_bytes -= fitting;
  }
  if (fitting > 0) {
    const int result =
        Real(file)->pMethods->xWrite(Real(file), from, fitting, offset);
    if (result != SQLITE_OK) return result;
    if (Shim(file)->tracked_path != nullptr) {
      state->images[Shim(file)->tracked_path].changes.push_back(
          {offset, std::string(static_cast<const char*>(from),
                               static_cast<size_t>(fitting))});
    }
  }
  return fitting == bytes ? SQLITE_OK : SQLITE_FULL;
}

int Truncate(sqlite3_file* file, sqlite3_int64 size) {
  ShimVfs::State* state = Shim(file)->state;
  absl::MutexLock lock(&state->mutex);
  const int result = Real(file)->pMethods->xTruncate(Real(file), size);
  if (result == SQLITE_OK && Shim(file)->tracked_path != nullptr) {
    state->images[Shim(file)->tracked_path].changes.push_back({size, "", true});
  }
  return result;
}

int Sync(sqlite3_file* file, int flags) {
  ShimVfs::State* state = Shim(file)->state;
  // What was written before the call is what it makes durable.
  size_t covered = 0;
  {
    absl::MutexLock lock(&state->mutex);
    if (state->failing_syncs > 0) {
      --state->failing_syncs;
      return SQLITE_IOERR_FSYNC;
    }
    if (Shim(file)->tracked_path != nullptr) {
      covered = state->images[Shim(file)->tracked_path].changes.size();
    }
  }
  if (state->options.sync_delay > absl::ZeroDuration()) {
    absl::SleepFor(state->options.sync_delay);
  }
  const int result = Real(file)->pMethods->xSync(Real(file), flags);
  if (result != SQLITE_OK) return result;
  absl::MutexLock lock(&state->mutex);
  ++state->syncs;
  if (Shim(file)->tracked_path != nullptr) {
    Image& image = state->images[Shim(file)->tracked_path];
    covered = std::min(covered, image.changes.size());
    for (size_t i = 0; i < covered; ++i) {
      ApplyChange(image.changes[i], &image.synced);
    }
    image.changes.erase(
        image.changes.begin(),
        image.changes.begin() + static_cast<ptrdiff_t>(covered));
  }
  return SQLITE_OK;
}

int FileSize(sqlite3_file* file, sqlite3_int64* size) {
  return Real(file)->pMethods->xFileSize(Real(file), size);
}
int Lock(sqlite3_file* file, int level) {
  return Real(file)->pMethods->xLock(Real(file), level);
}
int Unlock(sqlite3_file* file, int level) {
  return Real(file)->pMethods->xUnlock(Real(file), level);
}
int CheckReservedLock(sqlite3_file* file, int* reserved) {
  return Real(file)->pMethods->xCheckReservedLock(Real(file), reserved);
}
int FileControl(sqlite3_file* file, int operation, void* argument) {
  return Real(file)->pMethods->xFileControl(Real(file), operation, argument);
}
int SectorSize(sqlite3_file* file) {
  return Real(file)->pMethods->xSectorSize(Real(file));
}
int DeviceCharacteristics(sqlite3_file* file) {
  return Real(file)->pMethods->xDeviceCharacteristics(Real(file));
}
int ShmMap(sqlite3_file* file, int page, int page_size, int extend,
           void volatile** mapped) {
  return Real(file)->pMethods->xShmMap(Real(file), page, page_size, extend,
                                       mapped);
}
int ShmLock(sqlite3_file* file, int offset, int count, int flags) {
  return Real(file)->pMethods->xShmLock(Real(file), offset, count, flags);
}
void ShmBarrier(sqlite3_file* file) {
  Real(file)->pMethods->xShmBarrier(Real(file));
}
int ShmUnmap(sqlite3_file* file, int remove) {
  return Real(file)->pMethods->xShmUnmap(Real(file), remove);
}

// Version 2: shared memory for the WAL, no memory-mapped reads, which would go
// past Write.
constexpr sqlite3_io_methods kMethods = {
    .iVersion = 2,
    .xClose = Close,
    .xRead = Read,
    .xWrite = Write,
    .xTruncate = Truncate,
    .xSync = Sync,
    .xFileSize = FileSize,
    .xLock = Lock,
    .xUnlock = Unlock,
    .xCheckReservedLock = CheckReservedLock,
    .xFileControl = FileControl,
    .xSectorSize = SectorSize,
    .xDeviceCharacteristics = DeviceCharacteristics,
    .xShmMap = ShmMap,
    .xShmLock = ShmLock,
    .xShmBarrier = ShmBarrier,
    .xShmUnmap = ShmUnmap,
};

int Open(sqlite3_vfs* vfs, const char* path, sqlite3_file* file, int flags,
         int* out_flags) {
  ShimVfs::State* state = StateOf(vfs);
  ShimFile* shim = new (file) ShimFile{};
  shim->state = state;
  shim->real = reinterpret_cast<sqlite3_file*>(shim + 1);
  const int result =
      state->real->xOpen(state->real, path, shim->real, flags, out_flags);
  // SQLite closes what has methods, and only that.
  if (shim->real->pMethods != nullptr) shim->base.pMethods = &kMethods;
  if (result == SQLITE_OK && state->options.track_unsynced &&
      (flags & (SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_WAL)) != 0) {
    shim->tracked_path = path;
    absl::MutexLock lock(&state->mutex);
    state->images.try_emplace(path);
  }
  return result;
}

int Delete(sqlite3_vfs* vfs, const char* path, int sync_directory) {
  ShimVfs::State* state = StateOf(vfs);
  const int result = state->real->xDelete(state->real, path, sync_directory);
  absl::MutexLock lock(&state->mutex);
  state->images.erase(path);
  return result;
}
int Access(sqlite3_vfs* vfs, const char* path, int flags, int* found) {
  sqlite3_vfs* real = StateOf(vfs)->real;
  return real->xAccess(real, path, flags, found);
}
int FullPathname(sqlite3_vfs* vfs, const char* path, int size, char* full) {
  sqlite3_vfs* real = StateOf(vfs)->real;
  return real->xFullPathname(real, path, size, full);
}
void* DlOpen(sqlite3_vfs* vfs, const char* path) {
  sqlite3_vfs* real = StateOf(vfs)->real;
  return real->xDlOpen(real, path);
}
void DlError(sqlite3_vfs* vfs, int bytes, char* message) {
  sqlite3_vfs* real = StateOf(vfs)->real;
  real->xDlError(real, bytes, message);
}
using Symbol = void (*)();
Symbol DlSym(sqlite3_vfs* vfs, void* library, const char* symbol) {
  sqlite3_vfs* real = StateOf(vfs)->real;
  return real->xDlSym(real, library, symbol);
}
void DlClose(sqlite3_vfs* vfs, void* library) {
  sqlite3_vfs* real = StateOf(vfs)->real;
  real->xDlClose(real, library);
}
int Randomness(sqlite3_vfs* vfs, int bytes, char* to) {
  sqlite3_vfs* real = StateOf(vfs)->real;
  return real->xRandomness(real, bytes, to);
}
int Sleep(sqlite3_vfs* vfs, int microseconds) {
  sqlite3_vfs* real = StateOf(vfs)->real;
  return real->xSleep(real, microseconds);
}
int CurrentTime(sqlite3_vfs* vfs, double* julian_day) {
  sqlite3_vfs* real = StateOf(vfs)->real;
  return real->xCurrentTime(real, julian_day);
}
int GetLastError(sqlite3_vfs* vfs, int size, char* message) {
  sqlite3_vfs* real = StateOf(vfs)->real;
  return real->xGetLastError(real, size, message);
}
int CurrentTimeInt64(sqlite3_vfs* vfs, sqlite3_int64* milliseconds) {
  sqlite3_vfs* real = StateOf(vfs)->real;
  return real->xCurrentTimeInt64(real, milliseconds);
}

absl::Status WriteFile(const std::string& path, const std::string& content) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(content.data(), static_cast<std::streamsize>(content.size()));
  file.close();
  return file ? absl::OkStatus()
              : absl::UnavailableError(absl::StrCat("cannot write ", path));
}

}  // namespace

ShimVfs::ShimVfs(const Options& options) : state_(std::make_unique<State>()) {
  static std::atomic<int> count = 0;
  State& state = *state_;
  state.name = absl::StrCat("dasm-shim-", count++);
  state.options = options;
  state.real = sqlite3_vfs_find(nullptr);
  state.vfs = {
      .iVersion = 2,
      .szOsFile = static_cast<int>(sizeof(ShimFile)) + state.real->szOsFile,
      .mxPathname = state.real->mxPathname,
      .zName = state.name.c_str(),
      .pAppData = &state,
      .xOpen = Open,
      .xDelete = Delete,
      .xAccess = Access,
      .xFullPathname = FullPathname,
      .xDlOpen = DlOpen,
      .xDlError = DlError,
      .xDlSym = [](sqlite3_vfs* vfs, void* library,
                   const char* symbol) { return DlSym(vfs, library, symbol); },
      .xDlClose = DlClose,
      .xRandomness = Randomness,
      .xSleep = Sleep,
      .xCurrentTime = CurrentTime,
      .xGetLastError = GetLastError,
      .xCurrentTimeInt64 = CurrentTimeInt64,
  };
  sqlite3_vfs_register(&state.vfs, /*makeDflt=*/0);
}

ShimVfs::~ShimVfs() { sqlite3_vfs_unregister(&state_->vfs); }

const std::string& ShimVfs::name() const { return state_->name; }

void ShimVfs::SetFreeBytes(int64_t bytes) {
  absl::MutexLock lock(&state_->mutex);
  state_->free_bytes = bytes;
}

void ShimVfs::FailSyncs(int count) {
  absl::MutexLock lock(&state_->mutex);
  state_->failing_syncs = count;
}

int64_t ShimVfs::syncs() const {
  absl::MutexLock lock(&state_->mutex);
  return state_->syncs;
}

absl::Status ShimVfs::CopyAfterPowerLoss(const std::string& from,
                                         const std::string& to, uint64_t seed) {
  // Both files of one instant.
  std::map<std::string, Image> images;
  {
    absl::MutexLock lock(&state_->mutex);
    images = state_->images;
  }
  for (const char* suffix : {"", "-wal"}) {
    const auto found = images.find(from + suffix);
    if (found == images.end()) continue;
    std::string content = std::move(found->second.synced);
    uint64_t number = 0;
    for (const Change& change : found->second.changes) {
      if (seed != 0 && Mix(seed + ++number) % 2 == 0) {
        ApplyChange(change, &content);
      }
    }
    absl::Status written = WriteFile(to + suffix, content);
    if (!written.ok()) return written;
  }
  return absl::OkStatus();
}

}  // namespace dasm
