#include "common/artifact/local_blob_store.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/artifact/digest.h"
#include "common/base/error.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"

namespace dasm {
namespace {

constexpr size_t kHexAt = 7;  // behind "sha256:"

std::string BlobFolder(const std::string& directory) {
  return absl::StrCat(directory, "/blobs/sha256");
}

std::vector<std::string> FanOut() {
  std::vector<std::string> names;
  for (int i = 0; i < 256; ++i) names.push_back(absl::StrFormat("%02x", i));
  return names;
}

bool IsTemporary(const std::string& name) {
  return name.compare(0, kTemporaryPrefix.size(), kTemporaryPrefix.data(),
                      kTemporaryPrefix.size()) == 0;
}

absl::Status CheckDigest(const std::string& digest) {
  if (IsDigest(digest)) return absl::OkStatus();
  return InvalidField("digest",
                      absl::StrCat("\"", digest,
                                   "\" is not a digest; write sha256: and 64 "
                                   "lower-case hex digits"));
}

absl::Status NotFound(const std::string& digest) {
  return absl::NotFoundError(absl::StrCat("there is no blob ", digest));
}

// Not found becomes a message about the blob rather than the path.
absl::Status OfBlob(const std::string& digest, absl::Status status) {
  return absl::IsNotFound(status) ? NotFound(digest) : status;
}

absl::Status CheckRenames(const std::string& directory, FileSystem* fs) {
  const std::string path = absl::StrCat(directory, "/rename_test");
  for (std::string_view text : {"first", "second"}) {
    DASM_RETURN_IF_ERROR(WriteFileAtomically(fs, path, text));
    DASM_ASSIGN_OR_RETURN(const std::string found, fs->Read(path));
    if (found != text) {
      return absl::FailedPreconditionError(
          absl::StrCat(directory,
                       ": the file system does not replace a file by renaming; "
                       "use a folder on a disk of this machine"));
    }
  }
  return fs->Remove(path);
}

}  // namespace

class LocalBlobStore::LocalWriter final : public BlobStore::Writer {
 public:
  LocalWriter(LocalBlobStore* store, std::string digest, int64_t size_bytes,
              std::unique_ptr<FileSystem::Writer> file)
      : store_(store),
        digest_(std::move(digest)),
        size_bytes_(size_bytes),
        file_(std::move(file)) {}
  ~LocalWriter() override { store_->Release(size_bytes_); }

  absl::Status Append(std::string_view data) override {
    const int64_t after = written_ + static_cast<int64_t>(data.size());
    if (after > size_bytes_) {
      return InvalidField("size_bytes",
                          absl::StrCat("blob ", digest_, " was announced with ",
                                       size_bytes_, " bytes but has more"));
    }
    DASM_RETURN_IF_ERROR(file_->Append(data));
    hasher_.Update(data);
    written_ = after;
    return absl::OkStatus();
  }

  absl::Status Commit() override {
    if (written_ != size_bytes_) {
      return InvalidField(
          "size_bytes", absl::StrCat("blob ", digest_, " was announced with ",
                                     size_bytes_, " bytes but has ", written_));
    }
    const std::string digest = hasher_.Finish().digest;
    if (digest != digest_) {
      return InvalidField("digest", absl::StrCat("the bytes of blob ", digest_,
                                                 " hash to ", digest));
    }
    absl::ReaderMutexLock placing(&store_->placing_);
    {
      // What was hashed came from memory; the first read checks the disk.
      absl::MutexLock lock(&store_->mutex_);
      store_->verified_.erase(digest_);
    }
    return file_->Commit();
  }

 private:
  LocalBlobStore* const store_;
  const std::string digest_;
  const int64_t size_bytes_;
  const std::unique_ptr<FileSystem::Writer> file_;
  Hasher hasher_{/*chunks=*/false};
  int64_t written_ = 0;
};

LocalBlobStore::LocalBlobStore(Options options, FileSystem* fs)
    : options_(std::move(options)), fs_(fs) {}

absl::StatusOr<std::unique_ptr<LocalBlobStore>> LocalBlobStore::Create(
    Options options, FileSystem* fs) {
  const std::string& directory = options.directory;
  DASM_RETURN_IF_ERROR(RefuseNetworkFileSystem(directory));
  const std::string blobs = BlobFolder(directory);
  DASM_RETURN_IF_ERROR(fs->CreateDirectories(blobs));
  DASM_RETURN_IF_ERROR(
      fs->CreateDirectories(absl::StrCat(directory, "/quarantine")));
  DASM_RETURN_IF_ERROR(fs->CreateChildren(blobs, FanOut()));
  DASM_RETURN_IF_ERROR(CheckRenames(directory, fs));
  int removed = 0;
  for (const std::string& part : FanOut()) {
    const std::string folder = absl::StrCat(blobs, "/", part);
    DASM_ASSIGN_OR_RETURN(const auto names, fs->List(folder));
    for (const std::string& name : names) {
      if (!IsTemporary(name)) continue;
      DASM_RETURN_IF_ERROR(fs->Remove(absl::StrCat(folder, "/", name)));
      ++removed;
    }
  }
  if (removed > 0) {
    DASM_LOG(INFO, "half-written blobs removed")
        .Kv("folder", blobs)
        .Kv("count", removed);
  }
  return std::unique_ptr<LocalBlobStore>(
      new LocalBlobStore(std::move(options), fs));
}

std::string LocalBlobStore::Path(const std::string& digest) const {
  return absl::StrCat(BlobFolder(options_.directory), "/",
                      digest.substr(kHexAt, 2), "/", digest.substr(kHexAt));
}

absl::Status LocalBlobStore::Reserve(int64_t bytes) {
  DASM_ASSIGN_OR_RETURN(const int64_t free, fs_->FreeBytes(options_.directory));
  absl::MutexLock lock(&mutex_);
  // Open writers' bytes that are on the disk already count twice; that errs on
  // the safe side for as long as they are open.
  if (bytes > free - reserved_bytes_ - options_.min_free_bytes) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "no room for a blob of ", bytes, " bytes: ", free, " bytes free on ",
        options_.directory, ", ", reserved_bytes_, " of them promised and ",
        options_.min_free_bytes, " kept free; free some space"));
  }
  reserved_bytes_ += bytes;
  return absl::OkStatus();
}

void LocalBlobStore::Release(int64_t bytes) {
  absl::MutexLock lock(&mutex_);
  reserved_bytes_ -= bytes;
}

absl::StatusOr<std::unique_ptr<BlobStore::Writer>> LocalBlobStore::Create(
    const std::string& digest, int64_t size_bytes) {
  DASM_RETURN_IF_ERROR(CheckDigest(digest));
  if (size_bytes < 0) {
    return InvalidField("size_bytes", "a blob's size is not negative");
  }
  if (const auto size = fs_->Size(Path(digest)); size.ok()) {
    if (*size == size_bytes) {
      return absl::AlreadyExistsError(
          absl::StrCat("blob ", digest, " is already there"));
    }
    // Either the announced size is wrong, which Commit() would find, or the
    // file is what a power loss left of it.
    const absl::Status found = Verify(digest);
    if (found.ok()) {
      return InvalidField("size_bytes",
                          absl::StrCat("blob ", digest, " has ", *size,
                                       " bytes, not ", size_bytes));
    }
    if (!absl::IsDataLoss(found) && !absl::IsNotFound(found)) return found;
  }
  DASM_RETURN_IF_ERROR(Reserve(size_bytes));
  auto file = fs_->Create(Path(digest), 0444);
  if (!file.ok()) {
    Release(size_bytes);
    return file.status();
  }
  return std::make_unique<LocalWriter>(this, digest, size_bytes,
                                       *std::move(file));
}

absl::StatusOr<bool> LocalBlobStore::Matches(const std::string& digest) {
  Hasher hasher(/*chunks=*/false);
  DASM_RETURN_IF_ERROR(OfBlob(
      digest, fs_->ReadChunks(Path(digest), 0, [&](std::string_view chunk) {
        hasher.Update(chunk);
        return absl::OkStatus();
      })));
  return hasher.Finish().digest == digest;
}

absl::Status LocalBlobStore::Quarantine(const std::string& digest) {
  bool moved = false;
  {
    absl::MutexLock placing(&placing_);
    const auto matches = Matches(digest);
    if (matches.ok() && *matches) {
      return absl::UnavailableError(
          absl::StrCat("blob ", digest, " read differently twice; try again"));
    }
    if (matches.ok()) {
      {
        absl::MutexLock lock(&mutex_);
        verified_.erase(digest);
      }
      DASM_RETURN_IF_ERROR(fs_->Rename(
          Path(digest), absl::StrCat(options_.directory, "/quarantine/",
                                     digest.substr(kHexAt))));
      moved = true;
    } else if (!absl::IsNotFound(matches.status())) {
      return matches.status();
    }
  }
  // Not moved: another reader found it bad, too, and was faster.
  if (moved) {
    DASM_LOG(ERROR, "blob quarantined").Kv("digest", digest);
    if (options_.on_quarantine) options_.on_quarantine(digest);
  }
  return absl::DataLossError(
      absl::StrCat("the stored bytes of blob ", digest,
                   " do not match its digest; it was moved to ",
                   options_.directory, "/quarantine"));
}

absl::Status LocalBlobStore::Verify(const std::string& digest) {
  DASM_RETURN_IF_ERROR(CheckDigest(digest));
  DASM_ASSIGN_OR_RETURN(const bool matches, Matches(digest));
  if (!matches) return Quarantine(digest);
  absl::MutexLock lock(&mutex_);
  verified_.insert(digest);
  return absl::OkStatus();
}

absl::Status LocalBlobStore::Read(
    const std::string& digest, int64_t offset,
    const std::function<absl::Status(std::string_view)>& chunk) {
  DASM_ASSIGN_OR_RETURN(const int64_t size, Size(digest));
  if (offset < 0 || offset > size) {
    return absl::OutOfRangeError(absl::StrCat("offset ", offset,
                                              " lies outside of blob ", digest,
                                              " of ", size, " bytes"));
  }
  bool verified;
  {
    absl::MutexLock lock(&mutex_);
    verified = verified_.contains(digest);
  }
  if (!verified) DASM_RETURN_IF_ERROR(Verify(digest));
  return OfBlob(digest, fs_->ReadChunks(Path(digest), offset, chunk));
}

absl::StatusOr<int64_t> LocalBlobStore::Size(const std::string& digest) {
  DASM_RETURN_IF_ERROR(CheckDigest(digest));
  auto size = fs_->Size(Path(digest));
  if (!size.ok()) return OfBlob(digest, size.status());
  return *size;
}

absl::Status LocalBlobStore::Remove(const std::string& digest) {
  DASM_RETURN_IF_ERROR(CheckDigest(digest));
  {
    absl::MutexLock lock(&mutex_);
    verified_.erase(digest);
  }
  return fs_->Remove(Path(digest));
}

std::vector<std::string> LocalBlobStore::FindMissing(
    const std::vector<std::string>& digests) {
  std::vector<std::string> missing;
  for (const std::string& digest : digests) {
    if (!IsDigest(digest) || !fs_->Exists(Path(digest))) {
      missing.push_back(digest);
    }
  }
  return missing;
}

absl::StatusOr<std::vector<std::string>> LocalBlobStore::List() {
  std::vector<std::string> digests;
  for (const std::string& part : FanOut()) {
    DASM_ASSIGN_OR_RETURN(
        const auto names,
        fs_->List(absl::StrCat(BlobFolder(options_.directory), "/", part)));
    for (const std::string& name : names) {
      const std::string digest = absl::StrCat("sha256:", name);
      if (IsDigest(digest)) digests.push_back(digest);
    }
  }
  return digests;
}

}  // namespace dasm
