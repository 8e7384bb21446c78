#include "common/artifact/local_blob_store.h"

#include <sys/stat.h>

#include <fstream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/artifact/digest.h"
#include "common/base/fake_file_system.h"
#include "common/base/temporary_directory.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace dasm {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class LocalStore : public testing::Test {
 protected:
  LocalStore() { Open(); }

  // As a new process would.
  void Open(int64_t min_free_bytes = 0) {
    auto store = LocalBlobStore::Create({.directory = directory_->path(),
                                         .min_free_bytes = min_free_bytes,
                                         .on_quarantine =
                                             [this](const std::string& digest) {
                                               quarantined_.push_back(digest);
                                             }},
                                        &fs_);
    ASSERT_TRUE(store.ok()) << store.status();
    store_ = *std::move(store);
  }
  std::string Path(const std::string& digest) const {
    return absl::StrCat(directory_->path(), "/blobs/sha256/",
                        digest.substr(7, 2), "/", digest.substr(7));
  }
  std::string QuarantinePath(const std::string& digest) const {
    return absl::StrCat(directory_->path(), "/quarantine/", digest.substr(7));
  }
  // Changes a file in place, as a failing disk does.
  void FlipByte(const std::string& path, int64_t offset) {
    ASSERT_EQ(chmod(path.c_str(), 0644), 0);
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(offset);
    const char byte = static_cast<char>(file.get() ^ 1);
    file.seekp(offset);
    file.put(byte);
    ASSERT_TRUE(file.good());
  }

  const std::unique_ptr<TemporaryDirectory> directory_ =
      *TemporaryDirectory::Create();
  FakeFileSystem fs_;
  std::vector<std::string> quarantined_;
  std::unique_ptr<LocalBlobStore> store_;
};

TEST_F(LocalStore, BlobLiesReadOnlyUnderItsDigest) {
  const std::string digest = *WriteBlob(store_.get(), "abc");
  struct stat info;
  ASSERT_EQ(stat(Path(digest).c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0444);
  EXPECT_EQ(*fs_.Read(Path(digest)), "abc");
}

TEST_F(LocalStore, BlobsOutliveTheStore) {
  const std::string digest = *WriteBlob(store_.get(), "abc");
  Open();
  EXPECT_EQ(*ReadBlob(store_.get(), digest), "abc");
}

TEST_F(LocalStore, EveryFlippedBitIsCaughtBeforeAByteIsRead) {
  const std::string data = "a blob of a few bytes";
  for (size_t at = 0; at < data.size(); ++at) {
    const std::string digest = *WriteBlob(store_.get(), data);
    FlipByte(Path(digest), at);
    const absl::Status status = store_->Read(digest, 0, [](std::string_view) {
      ADD_FAILURE();
      return absl::OkStatus();
    });
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
    EXPECT_THAT(std::string(status.message()), HasSubstr(digest));
    EXPECT_TRUE(fs_.Exists(QuarantinePath(digest)));
    EXPECT_THAT(store_->FindMissing({digest}), ElementsAre(digest));
  }
  EXPECT_EQ(quarantined_, std::vector<std::string>(data.size(), Sha256(data)));
}

TEST_F(LocalStore, OffsetDoesNotEscapeTheCheck) {
  const std::string digest = *WriteBlob(store_.get(), "abcdef");
  FlipByte(Path(digest), 0);
  EXPECT_EQ(store_
                ->Read(digest, 4,
                       [](std::string_view) {
                         ADD_FAILURE();
                         return absl::OkStatus();
                       })
                .code(),
            absl::StatusCode::kDataLoss);
}

TEST_F(LocalStore, VerifyHashesAgainWhatWasSoundBefore) {
  const std::string digest = *WriteBlob(store_.get(), "abc");
  ASSERT_TRUE(ReadBlob(store_.get(), digest).ok());
  FlipByte(Path(digest), 1);
  EXPECT_EQ(store_->Verify(digest).code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(quarantined_, ElementsAre(digest));
  EXPECT_EQ(store_->Verify(digest).code(), absl::StatusCode::kNotFound);
}

TEST_F(LocalStore, BlobMadeAgainIsCheckedAgain) {
  const std::string digest = *WriteBlob(store_.get(), "abc");
  ASSERT_TRUE(ReadBlob(store_.get(), digest).ok());
  ASSERT_TRUE(store_->Remove(digest).ok());
  ASSERT_EQ(*WriteBlob(store_.get(), "abc"), digest);
  FlipByte(Path(digest), 1);
  EXPECT_EQ(ReadBlob(store_.get(), digest).status().code(),
            absl::StatusCode::kDataLoss);
}

TEST_F(LocalStore, TransientReadErrorQuarantinesNothing) {
  const std::string digest = *WriteBlob(store_.get(), "abc");
  fs_.FailReads(digest.substr(7));
  EXPECT_EQ(ReadBlob(store_.get(), digest).status().code(),
            absl::StatusCode::kUnavailable);
  fs_.FailReads("");
  EXPECT_EQ(*ReadBlob(store_.get(), digest), "abc");
  EXPECT_THAT(quarantined_, IsEmpty());
}

TEST_F(LocalStore, RotSeenOnReadingIsDataLoss) {
  const std::string digest = *WriteBlob(store_.get(), "abc");
  fs_.RotReads(digest.substr(7), 2);
  EXPECT_EQ(ReadBlob(store_.get(), digest).status().code(),
            absl::StatusCode::kDataLoss);
  EXPECT_THAT(quarantined_, ElementsAre(digest));
}

TEST_F(LocalStore, TornBlobGivesWayToANewOne) {
  fs_.TearNextWrite(2);
  const std::string digest = *WriteBlob(store_.get(), "abc");
  Open();
  EXPECT_EQ(*WriteBlob(store_.get(), "abc"), digest);
  EXPECT_THAT(quarantined_, ElementsAre(digest));
  EXPECT_EQ(*ReadBlob(store_.get(), digest), "abc");
}

TEST_F(LocalStore, WrongSizeOfASoundBlobIsTheCallersMistake) {
  const std::string digest = *WriteBlob(store_.get(), "abc");
  EXPECT_EQ(store_->Create(digest, 4).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(*ReadBlob(store_.get(), digest), "abc");
}

TEST_F(LocalStore, LeftoversOfACrashAreRemovedAtTheStart) {
  const std::string digest = *WriteBlob(store_.get(), "abc");
  const std::string leftover =
      absl::StrCat(directory_->path(), "/blobs/sha256/ab/",
                   std::string(kTemporaryPrefix), "0123456789ab");
  ASSERT_TRUE(WriteFileAtomically(&fs_, leftover, "half").ok());
  EXPECT_THAT(*store_->List(), ElementsAre(digest));
  Open();
  EXPECT_FALSE(fs_.Exists(leftover));
  EXPECT_EQ(*ReadBlob(store_.get(), digest), "abc");
}

TEST_F(LocalStore, FullDiskLeavesTheStoreWhole) {
  const std::string kept = *WriteBlob(store_.get(), "kept");
  auto writer = store_->Create(Sha256("abcdef"), 6);
  ASSERT_TRUE(writer.ok());
  ASSERT_TRUE((*writer)->Append("abc").ok());
  // Others have filled it meanwhile.
  fs_.SetDiskBytes(2);
  EXPECT_EQ((*writer)->Append("def").code(),
            absl::StatusCode::kResourceExhausted);
  writer->reset();
  EXPECT_EQ(store_->Create(Sha256("abcdef"), 6).status().code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(*store_->List(), ElementsAre(kept));
  EXPECT_EQ(*ReadBlob(store_.get(), kept), "kept");
  fs_.SetDiskBytes(100);
  EXPECT_TRUE(WriteBlob(store_.get(), "abcdef").ok());
}

TEST_F(LocalStore, FreeSpaceIsKeptEvenAgainstOpenWriters) {
  fs_.SetDiskBytes(1000);
  Open(/*min_free_bytes=*/900);
  fs_.SetDiskBytes(1000);
  auto first = store_->Create(Sha256("first"), 60);
  ASSERT_TRUE(first.ok());
  const absl::Status status = store_->Create(Sha256("b"), 60).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(status.message()), HasSubstr("900 kept free"));
  EXPECT_TRUE(store_->Create(Sha256("b"), 40).ok());
  first->reset();
  EXPECT_TRUE(store_->Create(Sha256("b"), 100).ok());
  EXPECT_FALSE(store_->Create(Sha256("b"), 101).ok());
}

TEST_F(LocalStore, FailedSyncIsNotABlob) {
  fs_.FailNextSyncs(1);
  EXPECT_EQ(WriteBlob(store_.get(), "abc").status().code(),
            absl::StatusCode::kUnavailable);
  EXPECT_THAT(*store_->List(), IsEmpty());
  EXPECT_TRUE(WriteBlob(store_.get(), "abc").ok());
}

TEST(LocalBlobStore, FolderThatCannotBeMadeIsNamed) {
  const auto directory = *TemporaryDirectory::Create();
  const std::string file = absl::StrCat(directory->path(), "/file");
  ASSERT_TRUE(WriteFileAtomically(LocalFileSystem(), file, "").ok());
  const absl::Status status =
      LocalBlobStore::Create({.directory = absl::StrCat(file, "/store")})
          .status();
  EXPECT_FALSE(status.ok());
  EXPECT_THAT(std::string(status.message()), HasSubstr(file));
}

TEST(LocalBlobStore, FileSystemWithoutReplacingRenamesIsRefused) {
  const auto directory = *TemporaryDirectory::Create();
  FakeFileSystem fs;
  // The self-test reads something else than it wrote last.
  fs.RotReads("rename_test", 0);
  EXPECT_EQ(LocalBlobStore::Create({.directory = directory->path()}, &fs)
                .status()
                .code(),
            absl::StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace dasm
