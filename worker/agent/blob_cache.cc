#include "worker/agent/blob_cache.h"

#include <sys/stat.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/artifact/digest.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"

namespace dasm {
namespace {

constexpr char kPrefix[] = "sha256:";
constexpr size_t kPrefixSize = sizeof(kPrefix) - 1;

}  // namespace

BlobCache::Pin::Pin(BlobCache* cache, std::string digest, std::string path)
    : cache_(cache), digest_(std::move(digest)), path_(std::move(path)) {}

BlobCache::Pin::Pin(Pin&& other) noexcept
    : cache_(std::exchange(other.cache_, nullptr)),
      digest_(std::move(other.digest_)),
      path_(std::move(other.path_)) {}

BlobCache::Pin::~Pin() {
  if (cache_ != nullptr) cache_->Unpin(digest_);
}

BlobCache::BlobCache(Options options, FileSystem* fs, Fetch fetch)
    : options_(std::move(options)), fs_(fs), fetch_(std::move(fetch)) {}

absl::StatusOr<std::unique_ptr<BlobCache>> BlobCache::Open(Options options,
                                                           FileSystem* fs,
                                                           Fetch fetch) {
  DASM_RETURN_IF_ERROR(fs->CreateDirectories(options.directory));
  std::unique_ptr<BlobCache> cache(
      new BlobCache(std::move(options), fs, std::move(fetch)));
  DASM_ASSIGN_OR_RETURN(const std::vector<std::string> names,
                        fs->List(cache->options_.directory));
  absl::MutexLock lock(&cache->mutex_);
  for (const std::string& name : names) {
    const std::string digest = absl::StrCat(kPrefix, name);
    if (!IsDigest(digest)) {
      // A download that a killed agent left half done.
      DASM_RETURN_IF_ERROR(
          fs->Remove(absl::StrCat(cache->options_.directory, "/", name)));
      continue;
    }
    DASM_ASSIGN_OR_RETURN(const int64_t size, fs->Size(cache->PathOf(digest)));
    Entry entry;
    entry.size_bytes = size;
    entry.present = true;
    cache->entries_[digest] = entry;
    cache->bytes_ += size;
  }
  // The limit may be smaller than it was.
  DASM_RETURN_IF_ERROR(cache->MakeRoom(0));
  return cache;
}

std::string BlobCache::PathOf(const std::string& digest) const {
  return absl::StrCat(options_.directory, "/", digest.substr(kPrefixSize));
}

absl::Status BlobCache::MakeRoom(int64_t size_bytes) {
  while (bytes_ + size_bytes > options_.max_bytes) {
    auto oldest = entries_.end();
    for (auto it = entries_.begin(); it != entries_.end(); ++it) {
      const Entry& entry = it->second;
      if (entry.pins > 0 || entry.busy) continue;
      if (oldest == entries_.end() || entry.used < oldest->second.used) {
        oldest = it;
      }
    }
    if (oldest == entries_.end()) {
      return absl::ResourceExhaustedError(absl::StrCat(
          "the blob cache has no room for ", size_bytes, " bytes: ", bytes_,
          " of ", options_.max_bytes, " are in use; raise --cache-size"));
    }
    DASM_RETURN_IF_ERROR(fs_->Remove(PathOf(oldest->first)));
    bytes_ -= oldest->second.size_bytes;
    entries_.erase(oldest);
  }
  return absl::OkStatus();
}

absl::Status BlobCache::Load(const std::string& digest, bool present) {
  const std::string path = PathOf(digest);
  if (present) {
    const absl::StatusOr<Hasher::Result> hashed = HashFile(fs_, path);
    if (hashed.ok() && hashed->digest == digest) return absl::OkStatus();
    DASM_LOG(WARNING, "a cached blob is damaged: fetching it again")
        .Kv("digest", digest);
    DASM_RETURN_IF_ERROR(fs_->Remove(path));
  }
  return fetch_(digest, path);
}

absl::StatusOr<BlobCache::Pin> BlobCache::Acquire(const std::string& digest,
                                                  int64_t size_bytes) {
  if (!IsDigest(digest)) {
    return absl::InvalidArgumentError(absl::StrCat("not a digest: ", digest));
  }
  absl::MutexLock lock(&mutex_);
  const auto settled = [this, &digest]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) {
    const auto found = entries_.find(digest);
    return found == entries_.end() || !found->second.busy;
  };
  mutex_.Await(absl::Condition(&settled));
  auto found = entries_.find(digest);
  if (found == entries_.end()) {
    DASM_RETURN_IF_ERROR(MakeRoom(size_bytes));
    found = entries_.emplace(digest, Entry()).first;
    found->second.size_bytes = size_bytes;
    bytes_ += size_bytes;
  }
  // A busy entry is neither given up nor loaded twice, so `found` stays valid.
  if (!found->second.verified) {
    found->second.busy = true;
    const bool present = found->second.present;
    mutex_.Unlock();
    const absl::Status loaded = Load(digest, present);
    mutex_.Lock();
    found->second.busy = false;
    if (!loaded.ok()) {
      bytes_ -= found->second.size_bytes;
      entries_.erase(found);
      return loaded;
    }
    found->second.present = true;
    found->second.verified = true;
  }
  ++found->second.pins;
  found->second.used = ++use_;
  return Pin(this, digest, PathOf(digest));
}

absl::Status BlobCache::Admit(const std::string& digest, int64_t size_bytes,
                              const std::string& path) {
  absl::MutexLock lock(&mutex_);
  if (entries_.contains(digest)) return fs_->Remove(path);
  DASM_RETURN_IF_ERROR(MakeRoom(size_bytes));
  if (chmod(path.c_str(), 0444) != 0) {
    return absl::UnavailableError(absl::StrCat("cannot protect ", path));
  }
  DASM_RETURN_IF_ERROR(fs_->Rename(path, PathOf(digest)));
  Entry entry;
  entry.size_bytes = size_bytes;
  entry.used = ++use_;
  entry.present = true;
  entry.verified = true;
  entries_[digest] = entry;
  bytes_ += size_bytes;
  return absl::OkStatus();
}

int64_t BlobCache::bytes() const {
  absl::MutexLock lock(&mutex_);
  return bytes_;
}

void BlobCache::Unpin(const std::string& digest) {
  absl::MutexLock lock(&mutex_);
  --entries_.at(digest).pins;
}

}  // namespace dasm
