// What every BlobStore promises, run over every implementation.
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/artifact/blob_store.h"
#include "common/artifact/digest.h"
#include "common/artifact/local_blob_store.h"
#include "common/base/temporary_directory.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace dasm {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

struct Implementation {
  std::string name;
  // A new, empty store that keeps what it needs in a folder.
  std::function<std::unique_ptr<BlobStore>(const std::string& directory)> make;
};

class BlobStoreContract : public testing::TestWithParam<Implementation> {
 protected:
  absl::Status Put(const std::string& digest, int64_t size,
                   const std::vector<std::string>& parts) {
    auto writer = store_->Create(digest, size);
    if (!writer.ok()) return writer.status();
    for (const std::string& part : parts) {
      if (auto added = (*writer)->Append(part); !added.ok()) return added;
    }
    return (*writer)->Commit();
  }

  const std::unique_ptr<TemporaryDirectory> directory_ =
      *TemporaryDirectory::Create();
  const std::unique_ptr<BlobStore> store_ = GetParam().make(directory_->path());
};

TEST_P(BlobStoreContract, WhatIsWrittenIsReadBack) {
  for (const std::string& data :
       {std::string(), std::string("abc"), std::string(3'000'000, 'x')}) {
    const auto digest = WriteBlob(store_.get(), data);
    ASSERT_TRUE(digest.ok()) << digest.status();
    EXPECT_EQ(*digest, Sha256(data));
    EXPECT_EQ(*ReadBlob(store_.get(), *digest), data);
    EXPECT_EQ(*store_->Size(*digest), data.size());
    EXPECT_TRUE(store_->Verify(*digest).ok());
  }
}

TEST_P(BlobStoreContract, PartsMakeOneBlob) {
  ASSERT_TRUE(Put(Sha256("abcdef"), 6, {"ab", "", "cde", "f"}).ok());
  EXPECT_EQ(*ReadBlob(store_.get(), Sha256("abcdef")), "abcdef");
}

TEST_P(BlobStoreContract, ReadsGoOnFromAnyOffset) {
  const std::string digest = *WriteBlob(store_.get(), "abcdef");
  for (int64_t offset = 0; offset <= 6; ++offset) {
    std::string read;
    ASSERT_TRUE(store_
                    ->Read(digest, offset,
                           [&](std::string_view chunk) {
                             read.append(chunk);
                             return absl::OkStatus();
                           })
                    .ok());
    EXPECT_EQ(read, std::string("abcdef").substr(offset));
  }
  const auto never = [](std::string_view) {
    ADD_FAILURE();
    return absl::OkStatus();
  };
  EXPECT_EQ(store_->Read(digest, 7, never).code(),
            absl::StatusCode::kOutOfRange);
  EXPECT_EQ(store_->Read(digest, -1, never).code(),
            absl::StatusCode::kOutOfRange);
}

TEST_P(BlobStoreContract, ReaderEndsWithTheErrorOfItsCallback) {
  const std::string digest = *WriteBlob(store_.get(), "abc");
  EXPECT_EQ(store_
                ->Read(digest, 0,
                       [](std::string_view) { return absl::CancelledError(); })
                .code(),
            absl::StatusCode::kCancelled);
}

TEST_P(BlobStoreContract, MissingBlobIsNotFound) {
  const std::string digest = Sha256("missing");
  EXPECT_EQ(ReadBlob(store_.get(), digest).status().code(),
            absl::StatusCode::kNotFound);
  EXPECT_EQ(store_->Size(digest).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(store_->Verify(digest).code(), absl::StatusCode::kNotFound);
  EXPECT_TRUE(store_->Remove(digest).ok());
}

TEST_P(BlobStoreContract, SecondBlobOfADigestIsNotWritten) {
  const std::string digest = *WriteBlob(store_.get(), "abc");
  EXPECT_EQ(store_->Create(digest, 3).status().code(),
            absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(*WriteBlob(store_.get(), "abc"), digest);
}

TEST_P(BlobStoreContract, UncommittedBlobDoesNotExist) {
  const std::string digest = Sha256("abc");
  {
    auto writer = store_->Create(digest, 3);
    ASSERT_TRUE(writer.ok());
    ASSERT_TRUE((*writer)->Append("abc").ok());
    EXPECT_THAT(store_->FindMissing({digest}), ElementsAre(digest));
  }
  EXPECT_THAT(store_->FindMissing({digest}), ElementsAre(digest));
  EXPECT_THAT(*store_->List(), IsEmpty());
}

TEST_P(BlobStoreContract, OtherBytesThanAnnouncedAreRefused) {
  const std::string digest = Sha256("abc");
  EXPECT_EQ(Put(digest, 3, {"abd"}).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Put(digest, 3, {"ab"}).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Put(digest, 3, {"abc", "d"}).code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Put(digest, 2, {"abc"}).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(*store_->List(), IsEmpty());
  EXPECT_TRUE(Put(digest, 3, {"abc"}).ok());
}

TEST_P(BlobStoreContract, MalformedDigestIsRefusedEverywhere) {
  for (const std::string digest :
       {"", "abc", "sha256:", "sha256:../../../../etc/passwd",
        "md5:"
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015a"}) {
    EXPECT_EQ(store_->Create(digest, 1).status().code(),
              absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(ReadBlob(store_.get(), digest).status().code(),
              absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(store_->Size(digest).status().code(),
              absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(store_->Verify(digest).code(),
              absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(store_->Remove(digest).code(),
              absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(store_->FindMissing({digest}), ElementsAre(digest));
  }
  EXPECT_EQ(store_->Create(Sha256("abc"), -1).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_P(BlobStoreContract, ListsWhatIsThereAndFindsWhatIsNot) {
  const std::string a = *WriteBlob(store_.get(), "a");
  const std::string b = *WriteBlob(store_.get(), "b");
  const std::string c = Sha256("c");
  EXPECT_THAT(*store_->List(), UnorderedElementsAre(a, b));
  EXPECT_THAT(store_->FindMissing({c, a, b}), ElementsAre(c));
  ASSERT_TRUE(store_->Remove(a).ok());
  EXPECT_THAT(*store_->List(), ElementsAre(b));
  EXPECT_THAT(store_->FindMissing({c, a, b}), ElementsAre(c, a));
  EXPECT_EQ(*WriteBlob(store_.get(), "a"), a);
}

TEST_P(BlobStoreContract, WritersOfOneBlobAllSucceed) {
  constexpr int kWriters = 8;
  const std::string data(300'000, 'x');
  const std::string digest = Sha256(data);
  // All are open before the first commits.
  std::vector<std::unique_ptr<BlobStore::Writer>> writers;
  for (int i = 0; i < kWriters; ++i) {
    auto writer = store_->Create(digest, data.size());
    ASSERT_TRUE(writer.ok()) << writer.status();
    writers.push_back(*std::move(writer));
  }
  std::vector<absl::Status> results(kWriters, absl::UnknownError(""));
  std::vector<std::thread> threads;
  for (int i = 0; i < kWriters; ++i) {
    threads.emplace_back([&, i] {
      results[i] = writers[i]->Append(data);
      if (results[i].ok()) results[i] = writers[i]->Commit();
      if (results[i].ok()) {
        results[i] = ReadBlob(store_.get(), digest).status();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const absl::Status& result : results) EXPECT_TRUE(result.ok()) << result;
  EXPECT_EQ(*ReadBlob(store_.get(), digest), data);
  EXPECT_THAT(*store_->List(), ElementsAre(digest));
}

INSTANTIATE_TEST_SUITE_P(
    Stores, BlobStoreContract,
    testing::Values(Implementation{
        "Local",
        [](const std::string& directory) -> std::unique_ptr<BlobStore> {
          return *LocalBlobStore::Create({.directory = directory});
        }}),
    [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace dasm
