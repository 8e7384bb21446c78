#include "common/base/file_system.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/temporary_directory.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace dasm {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class LocalFiles : public testing::Test {
 protected:
  std::string Path(const std::string& name) const {
    return absl::StrCat(directory_->path(), "/", name);
  }
  std::vector<std::string> Names() const {
    return *fs_->List(directory_->path());
  }

  FileSystem* const fs_ = LocalFileSystem();
  const std::unique_ptr<TemporaryDirectory> directory_ =
      *TemporaryDirectory::Create();
};

TEST_F(LocalFiles, CommittedFileIsThereWithItsMode) {
  auto writer = fs_->Create(Path("a"), 0444);
  ASSERT_TRUE(writer.ok());
  ASSERT_TRUE((*writer)->Append("one ").ok());
  ASSERT_TRUE((*writer)->Append("two").ok());
  EXPECT_FALSE(fs_->Exists(Path("a")));
  ASSERT_TRUE((*writer)->Commit().ok());
  writer->reset();
  EXPECT_THAT(Names(), ElementsAre("a"));
  EXPECT_EQ(*fs_->Read(Path("a")), "one two");
  EXPECT_EQ(*fs_->Size(Path("a")), 7);
  struct stat info;
  ASSERT_EQ(stat(Path("a").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0444);
}

TEST_F(LocalFiles, UncommittedFileLeavesNothing) {
  {
    auto writer = fs_->Create(Path("a"));
    ASSERT_TRUE(writer.ok());
    ASSERT_TRUE((*writer)->Append("data").ok());
    ASSERT_THAT(Names(), testing::SizeIs(1));
    EXPECT_EQ(Names()[0].substr(0, kTemporaryPrefix.size()), kTemporaryPrefix);
  }
  EXPECT_THAT(Names(), IsEmpty());
}

TEST_F(LocalFiles, WritersOfOnePathDoNotDisturbEachOther) {
  auto first = fs_->Create(Path("a"));
  auto second = fs_->Create(Path("a"));
  ASSERT_TRUE(first.ok() && second.ok());
  ASSERT_TRUE((*first)->Append("first").ok());
  ASSERT_TRUE((*second)->Append("second").ok());
  ASSERT_TRUE((*first)->Commit().ok());
  EXPECT_EQ(*fs_->Read(Path("a")), "first");
  ASSERT_TRUE((*second)->Commit().ok());
  EXPECT_EQ(*fs_->Read(Path("a")), "second");
}

TEST_F(LocalFiles, FailedCommitRemovesTheTemporaryFile) {
  ASSERT_TRUE(fs_->CreateDirectories(Path("a")).ok());
  // A file cannot take the place of a folder.
  EXPECT_FALSE(WriteFileAtomically(fs_, Path("a"), "data").ok());
  EXPECT_THAT(Names(), ElementsAre("a"));
}

TEST_F(LocalFiles, ChunksFollowEachOtherFromTheOffsetOn) {
  std::string data;
  for (int i = 0; i < 300'000; ++i) absl::StrAppend(&data, i, " ");
  ASSERT_GT(data.size(), size_t{1} << 20);
  ASSERT_TRUE(WriteFileAtomically(fs_, Path("a"), data).ok());
  std::string read;
  ASSERT_TRUE(fs_->ReadChunks(Path("a"), 10,
                              [&](std::string_view chunk) {
                                EXPECT_LE(chunk.size(), size_t{1} << 20);
                                read.append(chunk);
                                return absl::OkStatus();
                              })
                  .ok());
  EXPECT_EQ(read, data.substr(10));
}

TEST_F(LocalFiles, ReadingEndsWithTheFirstErrorOfItsCallback) {
  ASSERT_TRUE(
      WriteFileAtomically(fs_, Path("a"), std::string(3 << 20, 'x')).ok());
  int calls = 0;
  EXPECT_EQ(fs_->ReadChunks(Path("a"), 0,
                            [&](std::string_view) {
                              ++calls;
                              return absl::CancelledError();
                            })
                .code(),
            absl::StatusCode::kCancelled);
  EXPECT_EQ(calls, 1);
}

TEST_F(LocalFiles, MissingFileIsNamed) {
  const absl::Status status = fs_->Read(Path("missing")).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()), HasSubstr(Path("missing")));
  EXPECT_EQ(fs_->Size(Path("missing")).status().code(),
            absl::StatusCode::kNotFound);
  EXPECT_EQ(fs_->Create(Path("missing/file")).status().code(),
            absl::StatusCode::kNotFound);
  EXPECT_EQ(fs_->List(Path("missing")).status().code(),
            absl::StatusCode::kNotFound);
  EXPECT_TRUE(fs_->Remove(Path("missing")).ok());
}

TEST_F(LocalFiles, FoldersComeWithTheirParents) {
  ASSERT_TRUE(fs_->CreateDirectories(Path("x/y/z/")).ok());
  ASSERT_TRUE(fs_->CreateDirectories(Path("x/y/z")).ok());
  ASSERT_TRUE(fs_->CreateChildren(Path("x"), {"b", "a", "y"}).ok());
  EXPECT_THAT(*fs_->List(Path("x")), ElementsAre("a", "b", "y"));
  ASSERT_TRUE(WriteFileAtomically(fs_, Path("file"), "").ok());
  EXPECT_FALSE(fs_->CreateDirectories(Path("file")).ok());
  EXPECT_FALSE(fs_->CreateDirectories(Path("file/x")).ok());
}

TEST_F(LocalFiles, RenameMovesAndRemoveRemoves) {
  ASSERT_TRUE(fs_->CreateDirectories(Path("x")).ok());
  ASSERT_TRUE(WriteFileAtomically(fs_, Path("a"), "data").ok());
  ASSERT_TRUE(fs_->Rename(Path("a"), Path("x/b")).ok());
  EXPECT_FALSE(fs_->Exists(Path("a")));
  EXPECT_EQ(*fs_->Read(Path("x/b")), "data");
  ASSERT_TRUE(fs_->Remove(Path("x/b")).ok());
  EXPECT_FALSE(fs_->Exists(Path("x/b")));
  EXPECT_GT(*fs_->FreeBytes(directory_->path()), 0);
}

TEST(ErrnoStatus, MapsWhatACallerActsOn) {
  EXPECT_EQ(ErrnoStatus(ENOENT, "p").code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(ErrnoStatus(EACCES, "p").code(),
            absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(ErrnoStatus(EROFS, "p").code(),
            absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(ErrnoStatus(ENOSPC, "p").code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ErrnoStatus(EDQUOT, "p").code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ErrnoStatus(EIO, "p").code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(ErrnoStatus(EISDIR, "/d/f").message(), "/d/f: Is a directory");
  EXPECT_EQ(ErrnoStatus(ENOSPC, "/d/f").message(),
            "/d/f: No space left on device; free some space on its file "
            "system");
}

TEST(NetworkFileSystem, IsKnownByItsMagicNumber) {
  EXPECT_EQ(NetworkFileSystemName(0x6969), "NFS");
  EXPECT_EQ(NetworkFileSystemName(0x517b), "SMB");
  EXPECT_EQ(NetworkFileSystemName(0xff534d42), "SMB");
  // As a signed 32-bit number, which f_type is on some machines.
  EXPECT_EQ(NetworkFileSystemName(static_cast<int32_t>(0xfe534d42)), "SMB");
  EXPECT_EQ(NetworkFileSystemName(0x65735546), "FUSE");
  EXPECT_EQ(NetworkFileSystemName(0x01021997), "9p");
  EXPECT_EQ(NetworkFileSystemName(0xef53), "");      // ext4
  EXPECT_EQ(NetworkFileSystemName(0x01021994), "");  // tmpfs
}

TEST_F(LocalFiles, LocalFolderIsNotRefusedEvenBeforeItExists) {
  EXPECT_TRUE(RefuseNetworkFileSystem(directory_->path()).ok());
  EXPECT_TRUE(RefuseNetworkFileSystem(Path("x/y")).ok());
}

TEST_F(LocalFiles, SecondHolderOfALockIsToldOfTheFirst) {
  auto first = DirectoryLock::Acquire(directory_->path(), "dasm-coordinator");
  ASSERT_TRUE(first.ok()) << first.status();
  const absl::Status status =
      DirectoryLock::Acquire(directory_->path(), "dasm-worker").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(status.message(),
            absl::StrCat(directory_->path(),
                         " is in use by dasm-coordinator (process ", getpid(),
                         "); stop it or choose another folder"));
  first->reset();
  EXPECT_TRUE(DirectoryLock::Acquire(directory_->path(), "dasm-worker").ok());
}

TEST_F(LocalFiles, LockIsNotInheritedByPrograms) {
  auto lock = DirectoryLock::Acquire(directory_->path(), "test");
  ASSERT_TRUE(lock.ok());
  struct stat of_lock;
  ASSERT_EQ(stat(Path("LOCK").c_str(), &of_lock), 0);
  int found = 0;
  for (int fd = 0; fd < 1024; ++fd) {
    struct stat info;
    if (fstat(fd, &info) == 0 && info.st_ino == of_lock.st_ino &&
        info.st_dev == of_lock.st_dev) {
      ++found;
      EXPECT_TRUE(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    }
  }
  EXPECT_EQ(found, 1);
}

TEST_F(LocalFiles, LockOfAKilledProcessIsFree) {
  int pipe_fds[2];
  ASSERT_EQ(pipe2(pipe_fds, O_CLOEXEC), 0);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const auto lock = DirectoryLock::Acquire(directory_->path(), "child");
    const char answer = lock.ok() ? 'y' : 'n';
    if (write(pipe_fds[1], &answer, 1) != 1) _exit(1);
    for (;;) pause();
  }
  char answer = 0;
  ASSERT_EQ(read(pipe_fds[0], &answer, 1), 1);
  EXPECT_EQ(answer, 'y');
  const absl::Status status =
      DirectoryLock::Acquire(directory_->path(), "parent").status();
  EXPECT_THAT(std::string(status.message()),
              HasSubstr(absl::StrCat("child (process ", child, ")")));
  kill(child, SIGKILL);
  ASSERT_EQ(waitpid(child, nullptr, 0), child);
  EXPECT_TRUE(DirectoryLock::Acquire(directory_->path(), "parent").ok());
  close(pipe_fds[0]);
  close(pipe_fds[1]);
}

TEST(TemporaryDirectory, IsPrivateAndGoesAway) {
  auto directory = TemporaryDirectory::Create();
  ASSERT_TRUE(directory.ok());
  const std::string path = (*directory)->path();
  struct stat info;
  ASSERT_EQ(stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0700);
  ASSERT_TRUE(
      LocalFileSystem()->CreateDirectories(absl::StrCat(path, "/x/y")).ok());
  directory->reset();
  EXPECT_FALSE(LocalFileSystem()->Exists(path));
  EXPECT_EQ(TemporaryDirectory::Create(path).status().code(),
            absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace dasm
