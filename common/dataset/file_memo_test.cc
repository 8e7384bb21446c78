#include "common/dataset/file_memo.h"

#include <string>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "common/artifact/digest.h"
#include "common/dataset/test_files.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace dasm {
namespace {

using ::testing::HasSubstr;

TEST(SourceDigest, IsRememberedUntilTheFileChanges) {
  TestFolder folder;
  const std::string path = folder.Write("f", "one");
  EXPECT_EQ(*SourceDigest(path), Sha256("one"));
  EXPECT_EQ(*SourceDigest(path), Sha256("one"));
  folder.Write("f", "two");
  EXPECT_EQ(*SourceDigest(path), Sha256("two"));
}

TEST(RememberFacts, StopsLookingAtAFileOnceItsTimesHaveSettled) {
  TestFolder folder;
  const std::string path = folder.Write("f", "one");
  int64_t looks = 0;
  const auto look = [&](const std::string&) -> absl::StatusOr<FileFacts> {
    FileFacts facts;
    facts.shape = {++looks};
    return facts;
  };
  const absl::Time deadline = absl::Now() + absl::Minutes(2);
  int64_t before;
  do {
    before = looks;
    EXPECT_EQ(RememberFacts("a", path, look)->shape[0], looks);
  } while (looks != before && absl::Now() < deadline);
  EXPECT_EQ(looks, before);
  const int64_t remembered = looks;
  EXPECT_EQ(RememberFacts("b", path, look)->shape[0], remembered + 1);
  EXPECT_EQ(RememberFacts("a", path, look)->shape[0], remembered);
  folder.Write("f", "two");
  EXPECT_EQ(RememberFacts("a", path, look)->shape[0], remembered + 2);
}

TEST(RememberFacts, FileThatChangesMeanwhileIsAnError) {
  TestFolder folder;
  const std::string path = folder.Write("f", "one");
  const auto facts = RememberFacts(
      "c", path, [&](const std::string&) -> absl::StatusOr<FileFacts> {
        folder.Write("f", "another");
        return FileFacts();
      });
  EXPECT_THAT(std::string(facts.status().message()), HasSubstr("changed"));
}

}  // namespace
}  // namespace dasm
