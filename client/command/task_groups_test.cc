#include "client/command/task_groups.h"

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace dasm {
namespace {

using ::testing::ElementsAre;
using ::testing::SizeIs;

TEST(TaskGroups, ManyOfAKindAreOneInTheOrderOfTheirNumbers) {
  std::vector<std::string> ids = {"dataset"};
  // As a server sorts them: experts-1, experts-10, experts-2.
  for (int i : {1, 10, 2, 3, 4, 5, 6, 7, 8, 9}) {
    ids.push_back(absl::StrCat("experts-", i));
  }
  ids.push_back("segment-1");
  const std::vector<TaskGroup> groups = GroupTasks(ids);
  ASSERT_THAT(groups, SizeIs(3));
  EXPECT_EQ(groups[0].label, "dataset");
  EXPECT_EQ(groups[1].label, "experts-1 .. experts-10");
  EXPECT_THAT(groups[1].members, ElementsAre(1, 3, 4, 5, 6, 7, 8, 9, 10, 2));
  EXPECT_EQ(groups[2].label, "segment-1");
}

TEST(TaskGroups, AFewAreShownOneByOne) {
  std::vector<std::string> ids;
  for (size_t i = 1; i < kLeastOfGroup; ++i) {
    ids.push_back(absl::StrCat("evaluate-synthetic-", i));
  }
  EXPECT_THAT(GroupTasks(ids), SizeIs(kLeastOfGroup - 1));
  ids.push_back("evaluate-synthetic-99");
  EXPECT_THAT(GroupTasks(ids), SizeIs(1));
}

TEST(TaskGroups, ExpertsOfLaterSegmentsAreGroupsOfTheirOwn) {
  std::vector<std::string> ids;
  for (int i = 1; i <= 10; ++i) ids.push_back(absl::StrCat("experts-", i));
  for (int i = 1; i <= 10; ++i) ids.push_back(absl::StrCat("experts-2-", i));
  const std::vector<TaskGroup> groups = GroupTasks(ids);
  ASSERT_THAT(groups, SizeIs(2));
  EXPECT_EQ(groups[1].label, "experts-2-1 .. experts-2-10");
}

TEST(TaskGroups, OnlyANumberAtTheEndMakesAMember) {
  EXPECT_EQ(GroupPrefix("experts-12"), "experts");
  EXPECT_EQ(GroupPrefix("probe-expert"), "");
  EXPECT_EQ(GroupPrefix("evaluate-d3-w128"), "");
  EXPECT_EQ(GroupPrefix("dataset-"), "");
  EXPECT_EQ(GroupPrefix("dataset"), "");
}

}  // namespace
}  // namespace dasm
