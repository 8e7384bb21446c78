#include "common/base/file_system.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/ids.h"
#include "common/base/status_macros.h"

namespace dasm {
namespace {

constexpr size_t kReadBytes = size_t{1} << 20;

absl::string_view View(std::string_view text) {
  return absl::string_view(text.data(), text.size());
}

std::string Parent(const std::string& path) {
  const size_t slash = path.find_last_of('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

class Fd {
 public:
  explicit Fd(int fd) : fd_(fd) {}
  ~Fd() {
    if (fd_ >= 0) close(fd_);
  }
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  int get() const { return fd_; }

 private:
  const int fd_;
};

int OpenFile(const std::string& path, int flags, int mode = 0) {
  int fd;
  do {
    fd = open(path.c_str(), flags | O_CLOEXEC, mode);
  } while (fd < 0 && errno == EINTR);
  return fd;
}

absl::Status SyncDirectory(const std::string& path) {
  Fd fd(OpenFile(path, O_RDONLY | O_DIRECTORY));
  if (fd.get() < 0) return ErrnoStatus(errno, path);
  if (fsync(fd.get()) != 0) {
    return ErrnoStatus(errno, absl::StrCat("cannot sync folder ", path));
  }
  return absl::OkStatus();
}

class LocalWriter final : public FileSystem::Writer {
 public:
  LocalWriter(std::string path, std::string temporary, int fd)
      : path_(std::move(path)), temporary_(std::move(temporary)), fd_(fd) {}
  ~LocalWriter() override {
    if (!renamed_) unlink(temporary_.c_str());
  }

  absl::Status Append(std::string_view data) override {
    while (!data.empty()) {
      const ssize_t written = write(fd_.get(), data.data(), data.size());
      if (written < 0) {
        if (errno == EINTR) continue;
        return ErrnoStatus(errno, absl::StrCat("cannot write ", path_));
      }
      data.remove_prefix(written);
    }
    return absl::OkStatus();
  }

  absl::Status Commit() override {
    // Never tried again after a failure: the kernel drops the dirty pages, so
    // a second fsync would report success for data that is gone.
    if (fsync(fd_.get()) != 0) {
      return ErrnoStatus(errno, absl::StrCat("cannot sync ", path_));
    }
    if (rename(temporary_.c_str(), path_.c_str()) != 0) {
      return ErrnoStatus(errno, absl::StrCat("cannot create ", path_));
    }
    renamed_ = true;
    return SyncDirectory(Parent(path_));
  }

 private:
  const std::string path_;
  const std::string temporary_;
  const Fd fd_;
  bool renamed_ = false;
};

class LocalFiles final : public FileSystem {
 public:
  absl::StatusOr<std::unique_ptr<Writer>> Create(const std::string& path,
                                                 int mode) override {
    const std::string temporary =
        absl::StrCat(Parent(path), "/", View(kTemporaryPrefix), RandomHex(12));
    const int fd = OpenFile(temporary, O_WRONLY | O_CREAT | O_EXCL, mode);
    if (fd < 0) {
      return ErrnoStatus(errno, absl::StrCat("cannot create ", path));
    }
    return std::make_unique<LocalWriter>(path, temporary, fd);
  }

  absl::StatusOr<std::string> Read(const std::string& path) override {
    std::string data;
    DASM_RETURN_IF_ERROR(ReadChunks(path, 0, [&](std::string_view chunk) {
      data.append(chunk);
      return absl::OkStatus();
    }));
    return data;
  }

  absl::Status ReadChunks(
      const std::string& path, int64_t offset,
      const std::function<absl::Status(std::string_view)>& chunk) override {
    Fd fd(OpenFile(path, O_RDONLY));
    if (fd.get() < 0) return ErrnoStatus(errno, path);
    std::string buffer(kReadBytes, '\0');
    for (;;) {
      const ssize_t got = pread(fd.get(), buffer.data(), buffer.size(), offset);
      if (got < 0) {
        if (errno == EINTR) continue;
        return ErrnoStatus(errno, absl::StrCat("cannot read ", path));
      }
      if (got == 0) return absl::OkStatus();
      DASM_RETURN_IF_ERROR(chunk(std::string_view(buffer.data(), got)));
      offset += got;
    }
  }

  absl::StatusOr<int64_t> Size(const std::string& path) override {
    struct stat info;
    if (stat(path.c_str(), &info) != 0) return ErrnoStatus(errno, path);
    return info.st_size;
  }

  bool Exists(const std::string& path) override {
    return access(path.c_str(), F_OK) == 0;
  }

  absl::Status Rename(const std::string& from, const std::string& to) override {
    if (rename(from.c_str(), to.c_str()) != 0) {
      return ErrnoStatus(errno,
                         absl::StrCat("cannot rename ", from, " to ", to));
    }
    DASM_RETURN_IF_ERROR(SyncDirectory(Parent(to)));
    if (Parent(from) == Parent(to)) return absl::OkStatus();
    return SyncDirectory(Parent(from));
  }

  absl::Status Remove(const std::string& path) override {
    if (unlink(path.c_str()) != 0 && errno != ENOENT) {
      return ErrnoStatus(errno, absl::StrCat("cannot remove ", path));
    }
    return absl::OkStatus();
  }

  absl::Status CreateDirectories(const std::string& path) override {
    if (path.empty() || path == "/" || path == ".") return absl::OkStatus();
    if (path.back() == '/') {
      return CreateDirectories(path.substr(0, path.size() - 1));
    }
    struct stat info;
    if (stat(path.c_str(), &info) == 0) {
      return S_ISDIR(info.st_mode)
                 ? absl::OkStatus()
                 : ErrnoStatus(ENOTDIR, absl::StrCat("cannot create ", path));
    }
    const std::string parent = Parent(path);
    DASM_RETURN_IF_ERROR(CreateDirectories(parent));
    if (mkdir(path.c_str(), 0755) != 0 && errno != EEXIST) {
      return ErrnoStatus(errno, absl::StrCat("cannot create folder ", path));
    }
    return SyncDirectory(parent);
  }

  absl::Status CreateChildren(const std::string& parent,
                              const std::vector<std::string>& names) override {
    for (const std::string& name : names) {
      const std::string path = absl::StrCat(parent, "/", name);
      if (mkdir(path.c_str(), 0755) != 0 && errno != EEXIST) {
        return ErrnoStatus(errno, absl::StrCat("cannot create folder ", path));
      }
    }
    return SyncDirectory(parent);
  }

  absl::StatusOr<std::vector<std::string>> List(
      const std::string& path) override {
    DIR* directory = opendir(path.c_str());
    if (directory == nullptr) return ErrnoStatus(errno, path);
    std::vector<std::string> names;
    errno = 0;
    while (const dirent* entry = readdir(directory)) {
      const std::string_view name = entry->d_name;
      if (name != "." && name != "..") names.emplace_back(name);
    }
    const int error = errno;
    closedir(directory);
    if (error != 0) return ErrnoStatus(error, path);
    std::sort(names.begin(), names.end());
    return names;
  }

  absl::StatusOr<int64_t> FreeBytes(const std::string& path) override {
    struct statvfs info;
    if (statvfs(path.c_str(), &info) != 0) return ErrnoStatus(errno, path);
    return static_cast<int64_t>(info.f_bavail) *
           static_cast<int64_t>(info.f_frsize);
  }
};

}  // namespace

absl::Status ErrnoStatus(int error, std::string_view what) {
  const std::string message = absl::StrCat(View(what), ": ", strerror(error));
  switch (error) {
    case ENOENT:
      return absl::NotFoundError(message);
    case EACCES:
    case EPERM:
    case EROFS:
      return absl::PermissionDeniedError(message);
    case ENOSPC:
    case EDQUOT:
      return absl::ResourceExhaustedError(
          absl::StrCat(message, "; free some space on its file system"));
    default:
      return absl::UnavailableError(message);
  }
}

FileSystem* LocalFileSystem() {
  static LocalFiles* files = new LocalFiles;
  return files;
}

absl::Status WriteFileAtomically(FileSystem* fs, const std::string& path,
                                 std::string_view data) {
  DASM_ASSIGN_OR_RETURN(std::unique_ptr<FileSystem::Writer> writer,
                        fs->Create(path));
  DASM_RETURN_IF_ERROR(writer->Append(data));
  return writer->Commit();
}

std::string_view NetworkFileSystemName(int64_t type) {
  // From linux/magic.h, which lacks some of them.
  switch (static_cast<uint32_t>(type)) {
    case 0x6969:
      return "NFS";
    case 0x517b:
    case 0xff534d42:
    case 0xfe534d42:
      return "SMB";
    case 0x65735546:
      return "FUSE";
    case 0x01021997:
      return "9p";
    default:
      return "";
  }
}

absl::Status RefuseNetworkFileSystem(const std::string& path) {
  std::string existing = path;
  struct statfs info;
  while (statfs(existing.c_str(), &info) != 0) {
    if (errno == EINTR) continue;
    if (errno != ENOENT || existing == "/" || existing == ".") {
      return ErrnoStatus(errno, existing);
    }
    existing = Parent(existing);
  }
  const std::string_view name = NetworkFileSystemName(info.f_type);
  if (name.empty()) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat(path, " lies on ", View(name),
                   ", whose renames and locks cannot be trusted; use a folder "
                   "on a disk of this machine"));
}

absl::StatusOr<std::unique_ptr<DirectoryLock>> DirectoryLock::Acquire(
    const std::string& directory, std::string_view holder) {
  const std::string path = absl::StrCat(directory, "/LOCK");
  const int fd = OpenFile(path, O_RDWR | O_CREAT, 0644);
  if (fd < 0) return ErrnoStatus(errno, absl::StrCat("cannot lock ", path));
  std::unique_ptr<DirectoryLock> lock(new DirectoryLock(fd));
  int result;
  do {
    result = flock(fd, LOCK_EX | LOCK_NB);
  } while (result != 0 && errno == EINTR);
  if (result != 0) {
    if (errno != EWOULDBLOCK) {
      return ErrnoStatus(errno, absl::StrCat("cannot lock ", path));
    }
    char text[256];
    const ssize_t got = pread(fd, text, sizeof(text), 0);
    // Empty in the moment between the other's lock and its name.
    const absl::string_view other =
        got > 0 ? absl::string_view(text, got) : "another process";
    return absl::FailedPreconditionError(
        absl::StrCat(directory, " is in use by ", other,
                     "; stop it or choose another folder"));
  }
  const std::string text =
      absl::StrCat(View(holder), " (process ", getpid(), ")");
  if (ftruncate(fd, 0) != 0 || pwrite(fd, text.data(), text.size(), 0) !=
                                   static_cast<ssize_t>(text.size())) {
    return ErrnoStatus(errno, absl::StrCat("cannot write ", path));
  }
  return lock;
}

// The file stays: removing it would let two others lock two different ones.
DirectoryLock::~DirectoryLock() { close(fd_); }

}  // namespace dasm
