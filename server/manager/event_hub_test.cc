#include "server/manager/event_hub.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace dasm {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class Recorder final : public JobListener {
 public:
  void OnNotice(const JobNotice& notice) override {
    kinds.push_back(notice.kind);
  }
  std::vector<JobNotice::Kind> kinds;
};

TEST(EventHub, ANoticeReachesTheListenersOfItsJobOnly) {
  EventHub hub;
  const auto a = std::make_shared<Recorder>();
  const auto b = std::make_shared<Recorder>();
  hub.Listen("a", a);
  hub.Listen("b", b);
  hub.Notify("a", {});
  EXPECT_THAT(a->kinds, ElementsAre(JobNotice::Kind::kEvents));
  EXPECT_THAT(b->kinds, IsEmpty());
}

TEST(EventHub, AListenerThatIsGoneIsForgotten) {
  EventHub hub;
  auto gone = std::make_shared<Recorder>();
  hub.Listen("a", gone);
  const std::weak_ptr<Recorder> seen = gone;
  gone.reset();
  EXPECT_TRUE(seen.expired());
  hub.Notify("a", {});
}

TEST(EventHub, ClosingTellsEverybodyNowAndLater) {
  EventHub hub;
  const auto early = std::make_shared<Recorder>();
  const auto late = std::make_shared<Recorder>();
  hub.Listen("a", early);
  hub.Close();
  hub.Listen("b", late);
  EXPECT_THAT(early->kinds, ElementsAre(JobNotice::Kind::kClosing));
  EXPECT_THAT(late->kinds, ElementsAre(JobNotice::Kind::kClosing));
  hub.Notify("a", {});
  EXPECT_THAT(early->kinds, ElementsAre(JobNotice::Kind::kClosing));
}

}  // namespace
}  // namespace dasm
