#include "common/artifact/digest.h"

#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/base/temporary_directory.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace dasm {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

// FIPS 180-4 examples.
constexpr char kEmpty[] =
    "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
constexpr char kAbc[] =
    "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

// `size` bytes that differ from chunk to chunk.
std::string Data(size_t size) {
  std::string data(size, '\0');
  for (size_t i = 0; i < size; ++i) data[i] = static_cast<char>(i * i >> 9);
  return data;
}

TEST(Digest, IsThatOfTheStandard) {
  EXPECT_EQ(Sha256(""), kEmpty);
  EXPECT_EQ(Sha256("abc"), kAbc);
}

TEST(Digest, OnlyLowerCaseHexBehindThePrefixIsOne) {
  EXPECT_TRUE(IsDigest(kAbc));
  std::string text = kAbc;
  EXPECT_FALSE(IsDigest(text.substr(7)));
  EXPECT_FALSE(IsDigest(text + "0"));
  EXPECT_FALSE(IsDigest(text.substr(0, text.size() - 1)));
  text[10] = 'A';
  EXPECT_FALSE(IsDigest(text));
  text[10] = '/';
  EXPECT_FALSE(IsDigest(text));
  EXPECT_FALSE(IsDigest(""));
}

TEST(Hasher, DoesNotDependOnHowTheStreamIsCut) {
  const std::string data = Data(kChunkBytes + 5);
  for (const size_t cut : {size_t{1} << 20, size_t{4097}, data.size()}) {
    Hasher hasher;
    for (size_t at = 0; at < data.size(); at += cut) {
      hasher.Update(std::string_view(data).substr(at, cut));
    }
    const Hasher::Result result = hasher.Finish();
    EXPECT_EQ(result.digest, Sha256(data));
    EXPECT_EQ(result.size_bytes, data.size());
    EXPECT_THAT(result.chunk_digests,
                ElementsAre(Sha256(data.substr(0, kChunkBytes)),
                            Sha256(data.substr(kChunkBytes))));
  }
}

TEST(Hasher, ChunksEndAtTheirSize) {
  const auto chunks = [](const std::string& data) {
    Hasher hasher;
    hasher.Update(data);
    return hasher.Finish().chunk_digests;
  };
  EXPECT_THAT(chunks(""), IsEmpty());
  EXPECT_THAT(chunks("abc"), ElementsAre(kAbc));
  const std::string data = Data(3 * kChunkBytes);
  EXPECT_THAT(chunks(data),
              ElementsAre(Sha256(data.substr(0, kChunkBytes)),
                          Sha256(data.substr(kChunkBytes, kChunkBytes)),
                          Sha256(data.substr(2 * kChunkBytes))));
}

TEST(Hasher, LeavesChunksOutWhereTheyAreNotWanted) {
  Hasher hasher(/*chunks=*/false);
  hasher.Update("abc");
  const Hasher::Result result = hasher.Finish();
  EXPECT_EQ(result.digest, kAbc);
  EXPECT_EQ(result.size_bytes, 3);
  EXPECT_THAT(result.chunk_digests, IsEmpty());
}

TEST(HashFile, HashesWhatIsOnTheDisk) {
  const auto directory = *TemporaryDirectory::Create();
  const std::string path = absl::StrCat(directory->path(), "/f");
  ASSERT_TRUE(WriteFileAtomically(LocalFileSystem(), path, "abc").ok());
  EXPECT_EQ(HashFile(LocalFileSystem(), path)->digest, kAbc);
  EXPECT_EQ(HashFile(LocalFileSystem(), path + "x").status().code(),
            absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace dasm
