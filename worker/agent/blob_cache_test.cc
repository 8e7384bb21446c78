#include "worker/agent/blob_cache.h"

#include <stdlib.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/artifact/digest.h"
#include "gtest/gtest.h"
#include "worker/agent/fake_coordinator_link.h"

namespace dasm {
namespace {

class BlobCacheTest : public ::testing::Test {
 protected:
  BlobCacheTest() {
    std::string folder = absl::StrCat(::testing::TempDir(), "/cache-XXXXXX");
    directory_ = mkdtemp(folder.data());
  }
  ~BlobCacheTest() override { std::filesystem::remove_all(directory_); }

  std::unique_ptr<BlobCache> Open(int64_t max_bytes) {
    return *BlobCache::Open(
        {directory_, max_bytes}, LocalFileSystem(),
        [this](const std::string& digest, const std::string& path) {
          return coordinator_.Download(digest, path, 0444);
        });
  }
  size_t Downloads() const { return coordinator_.log().size(); }
  std::string Read(const BlobCache::Pin& pin) {
    return *LocalFileSystem()->Read(pin.path());
  }

  std::string directory_;
  FakeCoordinatorLink coordinator_;
};

TEST_F(BlobCacheTest, FetchesOnceAndKeepsReadOnly) {
  const std::string digest = coordinator_.AddBlob("four");
  const auto cache = Open(100);
  const auto first = cache->Acquire(digest, 4);
  const auto second = cache->Acquire(digest, 4);
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_EQ(Read(*second), "four");
  EXPECT_EQ(Downloads(), 1);
  struct stat status;
  ASSERT_EQ(stat(first->path().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0444);
}

TEST_F(BlobCacheTest, ManyThreadsShareOneDownload) {
  const std::string digest = coordinator_.AddBlob("shared");
  const auto cache = Open(100);
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] { EXPECT_TRUE(cache->Acquire(digest, 6).ok()); });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(Downloads(), 1);
}

TEST_F(BlobCacheTest, GivesUpTheLeastRecentlyUsed) {
  const std::string a = coordinator_.AddBlob("aaaa");
  const std::string b = coordinator_.AddBlob("bbbb");
  const std::string c = coordinator_.AddBlob("cccc");
  const auto cache = Open(8);
  ASSERT_TRUE(cache->Acquire(a, 4).ok());
  ASSERT_TRUE(cache->Acquire(b, 4).ok());
  ASSERT_TRUE(cache->Acquire(a, 4).ok());
  ASSERT_TRUE(cache->Acquire(c, 4).ok());
  EXPECT_EQ(cache->bytes(), 8);
  EXPECT_EQ(Downloads(), 3);
  ASSERT_TRUE(cache->Acquire(a, 4).ok());
  EXPECT_EQ(Downloads(), 3) << "a was used after b";
  ASSERT_TRUE(cache->Acquire(b, 4).ok());
  EXPECT_EQ(Downloads(), 4);
}

TEST_F(BlobCacheTest, KeepsWhatIsPinned) {
  const std::string a = coordinator_.AddBlob("aaaa");
  const std::string b = coordinator_.AddBlob("bbbb");
  const auto cache = Open(6);
  {
    const auto pin = cache->Acquire(a, 4);
    ASSERT_TRUE(pin.ok());
    EXPECT_TRUE(absl::IsResourceExhausted(cache->Acquire(b, 4).status()));
    EXPECT_EQ(Read(*pin), "aaaa");
  }
  EXPECT_TRUE(cache->Acquire(b, 4).ok());
}

TEST_F(BlobCacheTest, AFailedDownloadTakesNoRoom) {
  const auto cache = Open(8);
  EXPECT_TRUE(absl::IsNotFound(cache->Acquire(Sha256("nowhere"), 8).status()));
  EXPECT_EQ(cache->bytes(), 0);
  EXPECT_TRUE(cache->Acquire(coordinator_.AddBlob("8 bytes!"), 8).ok());
}

TEST_F(BlobCacheTest, ALaterProcessTakesOverWhatIsWhole) {
  const std::string whole = coordinator_.AddBlob("whole");
  const std::string damaged = coordinator_.AddBlob("right");
  {
    const auto cache = Open(100);
    ASSERT_TRUE(cache->Acquire(whole, 5).ok());
    const auto pin = cache->Acquire(damaged, 5);
    std::filesystem::remove(pin->path());
    std::ofstream(pin->path()) << "wrong";
  }
  std::ofstream(directory_ + "/half.tmp") << "left by a kill";
  const auto cache = Open(100);
  EXPECT_EQ(cache->bytes(), 10);
  EXPECT_FALSE(std::filesystem::exists(directory_ + "/half.tmp"));
  ASSERT_TRUE(cache->Acquire(whole, 5).ok());
  EXPECT_EQ(Downloads(), 2);
  EXPECT_EQ(Read(*cache->Acquire(damaged, 5)), "right");
  EXPECT_EQ(Downloads(), 3);
}

TEST_F(BlobCacheTest, AdmitsAFileByMovingIt) {
  const std::string path =
      directory_ + "/../" +
      std::filesystem::path(directory_).filename().string() + ".output";
  std::ofstream(path) << "output";
  const auto cache = Open(100);
  ASSERT_TRUE(cache->Admit(Sha256("output"), 6, path).ok());
  EXPECT_FALSE(std::filesystem::exists(path));
  EXPECT_EQ(Read(*cache->Acquire(Sha256("output"), 6)), "output");
  EXPECT_EQ(Downloads(), 0);
}

}  // namespace
}  // namespace dasm
