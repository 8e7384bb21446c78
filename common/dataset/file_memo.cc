#include "common/dataset/file_memo.h"

#include <sys/stat.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <unordered_map>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "common/artifact/digest.h"
#include "common/base/file_system.h"
#include "common/base/status_macros.h"
#include "common/dataset/data_error.h"
#include "common/dataset/image_folder.h"

namespace dasm {
namespace {

// Everything of a file that a change of its content changes.
using Stamp = std::array<int64_t, 7>;

absl::StatusOr<Stamp> StampOf(const std::string& path) {
  struct stat info = {};
  if (stat(path.c_str(), &info) != 0) {
    return DataError(path, std::strerror(errno));
  }
  return Stamp{info.st_size,
               info.st_mtim.tv_sec,
               info.st_mtim.tv_nsec,
               info.st_ctim.tv_sec,
               info.st_ctim.tv_nsec,
               static_cast<int64_t>(info.st_ino),
               static_cast<int64_t>(info.st_dev)};
}

// Times of files come in ticks of up to 10 ms. Only of a file whose last change
// is older than that does a later change show.
constexpr absl::Duration kSettled = absl::Milliseconds(50);

bool IsSettled(const Stamp& stamp, absl::Time now) {
  return absl::FromUnixSeconds(stamp[3]) + absl::Nanoseconds(stamp[4]) <
         now - kSettled;
}

// A picture folder of ImageNet's size fits; beyond that, all is forgotten.
constexpr size_t kMaxEntries = 2'000'000;

struct Memo {
  absl::Mutex mutex;
  std::unordered_map<std::string, std::pair<Stamp, FileFacts>> entries
      ABSL_GUARDED_BY(mutex);
};

Memo& TheMemo() {
  static Memo* memo = new Memo;
  return *memo;
}

absl::StatusOr<FileFacts> LookAtDigest(const std::string& path) {
  auto hash = HashFile(LocalFileSystem(), path);
  if (!hash.ok()) return DataError(path, hash.status().message());
  FileFacts facts;
  facts.digest = std::move(hash->digest);
  return facts;
}

}  // namespace

absl::StatusOr<FileFacts> RememberFacts(
    std::string_view kind, const std::string& path,
    const std::function<absl::StatusOr<FileFacts>(const std::string&)>& look) {
  std::string key(kind);
  key.append(1, '\0').append(path);
  const absl::Time now = absl::Now();
  DASM_ASSIGN_OR_RETURN(const Stamp before, StampOf(path));
  Memo& memo = TheMemo();
  {
    absl::MutexLock lock(&memo.mutex);
    const auto found = memo.entries.find(key);
    if (found != memo.entries.end() && found->second.first == before) {
      return found->second.second;
    }
  }
  DASM_ASSIGN_OR_RETURN(FileFacts facts, look(path));
  DASM_ASSIGN_OR_RETURN(const Stamp after, StampOf(path));
  if (after != before) {
    return DataError(path,
                     "changed while it was read; try again when it is "
                     "complete");
  }
  if (!IsSettled(before, now)) return facts;
  absl::MutexLock lock(&memo.mutex);
  if (memo.entries.size() >= kMaxEntries) memo.entries.clear();
  memo.entries[key] = {before, facts};
  return facts;
}

absl::StatusOr<std::string> SourceDigest(const std::string& path) {
  struct stat info = {};
  if (stat(path.c_str(), &info) != 0) {
    return DataError(path, std::strerror(errno));
  }
  if (!S_ISDIR(info.st_mode)) {
    DASM_ASSIGN_OR_RETURN(FileFacts facts,
                          RememberFacts("digest", path, LookAtDigest));
    return std::move(facts.digest);
  }
  DASM_ASSIGN_OR_RETURN(const std::vector<ImageClass> classes,
                        ListImageFolder(path));
  Hasher hasher;
  for (const ImageClass& each : classes) {
    for (const std::string& picture : each.pictures) {
      DASM_ASSIGN_OR_RETURN(
          const FileFacts facts,
          RememberFacts("digest", absl::StrCat(path, "/", picture),
                        LookAtDigest));
      hasher.Update(absl::StrCat(picture, "\t", facts.digest, "\n"));
    }
  }
  return hasher.Finish().digest;
}

}  // namespace dasm
