#include "server/planner/action_key.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace dasm {
namespace {

TEST(ActionKey, IsSixtyFourHexDigits) {
  const std::string key = ActionKey("evaluate", "{}", {}, "cpu", "");
  EXPECT_EQ(key.size(), 64u);
  EXPECT_EQ(key.find_first_not_of("0123456789abcdef"), std::string::npos);
}

TEST(ActionKey, EveryPartChangesIt) {
  const std::map<std::string, std::string> inputs = {{"a", "1"}, {"b", "2"}};
  std::set<std::string> keys = {
      ActionKey("evaluate", "{}", inputs, "cpu", "salt"),
      ActionKey("evaluatf", "{}", inputs, "cpu", "salt"),
      ActionKey("evaluate", "{ }", inputs, "cpu", "salt"),
      ActionKey("evaluate", "{}", {}, "cpu", "salt"),
      ActionKey("evaluate", "{}", {{"a", "1"}}, "cpu", "salt"),
      ActionKey("evaluate", "{}", {{"a", "2"}, {"b", "1"}}, "cpu", "salt"),
      ActionKey("evaluate", "{}", {{"a", "1"}, {"c", "2"}}, "cpu", "salt"),
      ActionKey("evaluate", "{}", inputs, "cpv", "salt"),
      ActionKey("evaluate", "{}", inputs, "cpu", ""),
  };
  EXPECT_EQ(keys.size(), 9u);
}

TEST(ActionKey, BoundariesBetweenPartsCount) {
  EXPECT_NE(ActionKey("ab", "c", {}, "d", ""),
            ActionKey("a", "bc", {}, "d", ""));
  EXPECT_NE(ActionKey("a", "", {}, "d", "e"), ActionKey("a", "", {}, "de", ""));
  EXPECT_NE(ActionKey("a", "", {{"x", "yz"}}, "", ""),
            ActionKey("a", "", {{"xy", "z"}}, "", ""));
}

// SHA-256 of 01, then "evaluate", "{}", "1", "dataset", "sha256:00", "cpu" and
// "s", each after its length in eight little-endian bytes; computed with
// Python's hashlib. When it fails, stored results are lost to every user.
TEST(ActionKey, IsFrozen) {
  EXPECT_EQ(ActionKey("evaluate", "{}", {{"dataset", "sha256:00"}}, "cpu", "s"),
            "6c9f20cf82c0a59ecd14a6f03fb05a8f01820fef1f7a27c51b0dbcf87ebd173a");
}

}  // namespace
}  // namespace dasm
