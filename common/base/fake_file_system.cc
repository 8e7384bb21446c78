#include "common/base/fake_file_system.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace dasm {

class FakeFileSystem::FaultyWriter final : public FileSystem::Writer {
 public:
  FaultyWriter(FakeFileSystem* fs, std::string path,
               std::unique_ptr<Writer> base, std::optional<int64_t> tear_at)
      : fs_(fs),
        path_(std::move(path)),
        base_(std::move(base)),
        keep_(tear_at) {}

  absl::Status Append(std::string_view data) override {
    const int64_t size = data.size();
    const int64_t taken = fs_->TakeDiskBytes(size);
    int64_t kept = taken;
    if (keep_) {
      kept = std::min(kept, *keep_);
      *keep_ -= kept;
    }
    DASM_RETURN_IF_ERROR(base_->Append(data.substr(0, kept)));
    if (taken == size) return absl::OkStatus();
    return ErrnoStatus(ENOSPC, absl::StrCat("cannot write ", path_));
  }

  absl::Status Commit() override {
    if (fs_->TakeSyncFailure()) {
      return ErrnoStatus(EIO, absl::StrCat("cannot sync ", path_));
    }
    return base_->Commit();
  }

 private:
  FakeFileSystem* const fs_;
  const std::string path_;
  const std::unique_ptr<Writer> base_;
  std::optional<int64_t> keep_;
};

void FakeFileSystem::SetDiskBytes(int64_t bytes) {
  absl::MutexLock lock(&mutex_);
  disk_bytes_ = bytes;
}

void FakeFileSystem::FailNextSyncs(int count) {
  absl::MutexLock lock(&mutex_);
  failing_syncs_ = count;
}

void FakeFileSystem::TearNextWrite(int64_t bytes) {
  absl::MutexLock lock(&mutex_);
  tear_at_ = bytes;
}

void FakeFileSystem::FailReads(const std::string& part) {
  absl::MutexLock lock(&mutex_);
  failing_reads_ = part;
}

void FakeFileSystem::RotReads(const std::string& part, int64_t offset) {
  absl::MutexLock lock(&mutex_);
  rotten_reads_ = part;
  rotten_offset_ = offset;
}

int64_t FakeFileSystem::TakeDiskBytes(int64_t wanted) {
  absl::MutexLock lock(&mutex_);
  if (!disk_bytes_) return wanted;
  const int64_t taken = std::min(wanted, *disk_bytes_);
  *disk_bytes_ -= taken;
  return taken;
}

bool FakeFileSystem::TakeSyncFailure() {
  absl::MutexLock lock(&mutex_);
  if (failing_syncs_ == 0) return false;
  --failing_syncs_;
  return true;
}

absl::StatusOr<std::unique_ptr<FileSystem::Writer>> FakeFileSystem::Create(
    const std::string& path, int mode) {
  std::optional<int64_t> tear_at;
  {
    absl::MutexLock lock(&mutex_);
    std::swap(tear_at, tear_at_);
  }
  DASM_ASSIGN_OR_RETURN(std::unique_ptr<Writer> base,
                        base_->Create(path, mode));
  return std::make_unique<FaultyWriter>(this, path, std::move(base), tear_at);
}

absl::StatusOr<std::string> FakeFileSystem::Read(const std::string& path) {
  std::string data;
  DASM_RETURN_IF_ERROR(ReadChunks(path, 0, [&](std::string_view chunk) {
    data.append(chunk);
    return absl::OkStatus();
  }));
  return data;
}

absl::Status FakeFileSystem::ReadChunks(
    const std::string& path, int64_t offset,
    const std::function<absl::Status(std::string_view)>& chunk) {
  int64_t rotten = -1;
  {
    absl::MutexLock lock(&mutex_);
    const auto matches = [&](const std::string& part) {
      return !part.empty() && path.find(part) != std::string::npos;
    };
    if (matches(failing_reads_)) {
      return ErrnoStatus(EIO, absl::StrCat("cannot read ", path));
    }
    if (matches(rotten_reads_)) rotten = rotten_offset_;
  }
  int64_t at = offset;
  return base_->ReadChunks(path, offset, [&](std::string_view part) {
    std::string data(part);
    const int64_t size = data.size();
    if (rotten >= at && rotten < at + size) data[rotten - at] ^= 1;
    at += size;
    return chunk(data);
  });
}

absl::StatusOr<int64_t> FakeFileSystem::Size(const std::string& path) {
  return base_->Size(path);
}

bool FakeFileSystem::Exists(const std::string& path) {
  return base_->Exists(path);
}

absl::Status FakeFileSystem::Rename(const std::string& from,
                                    const std::string& to) {
  return base_->Rename(from, to);
}

absl::Status FakeFileSystem::Remove(const std::string& path) {
  return base_->Remove(path);
}

absl::Status FakeFileSystem::CreateDirectories(const std::string& path) {
  return base_->CreateDirectories(path);
}

absl::Status FakeFileSystem::CreateChildren(
    const std::string& parent, const std::vector<std::string>& names) {
  return base_->CreateChildren(parent, names);
}

absl::StatusOr<std::vector<std::string>> FakeFileSystem::List(
    const std::string& path) {
  return base_->List(path);
}

absl::StatusOr<int64_t> FakeFileSystem::FreeBytes(const std::string& path) {
  {
    absl::MutexLock lock(&mutex_);
    if (disk_bytes_) return *disk_bytes_;
  }
  return base_->FreeBytes(path);
}

}  // namespace dasm
