#include "client/command/expert_view.h"

#include "absl/strings/str_cat.h"
#include "common/base/error.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace dasm {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

v1::Expert MakeExpert() {
  v1::Expert expert;
  expert.set_name(absl::StrCat("experts/", std::string(64, 'a'), "-2"));
  expert.set_digest("sha256:d");
  expert.set_size_bytes(65 << 20);
  expert.set_number(2);
  expert.set_group_size(5);
  expert.set_dataset("cifar-10");
  expert.set_preprocessing(v1::DatasetSpec::PREPROCESSING_ZCA);
  expert.set_network("convnet-d3-w128-instance");
  expert.mutable_training()->set_epochs(50);
  expert.mutable_training()->set_optimizer(v1::ExpertSpec::OPTIMIZER_GSAM);
  expert.mutable_training()->set_gsam_rho(0.01f);
  expert.set_index(6);
  expert.mutable_create_time()->set_seconds(1000);
  expert.mutable_use_time()->set_seconds(1000);
  return expert;
}

TEST(ParseAge, TakesDaysDurationsAndSeconds) {
  EXPECT_EQ(*ParseAge("30d", "x"), absl::Hours(720));
  EXPECT_EQ(*ParseAge("1h30m", "x"), absl::Minutes(90));
  EXPECT_EQ(*ParseAge("90", "x"), absl::Seconds(90));
  EXPECT_EQ(*ParseAge("0", "x"), absl::ZeroDuration());
  for (const char* wrong : {"", "d", "a week", "-1h", "-3d", "inf", "nan"}) {
    const auto age = ParseAge(wrong, "unused-for");
    EXPECT_TRUE(absl::IsInvalidArgument(age.status())) << wrong;
    EXPECT_EQ(FieldOf(age.status()), "unused-for");
  }
}

TEST(ExpertTable, IsALineEachWithAShortNameThatEveryVerbTakes) {
  v1::Expert expert = MakeExpert();
  std::string text = ExpertTable({expert}, absl::FromUnixSeconds(1060), 0);
  EXPECT_THAT(text, HasSubstr("aaaaaaaaaaaa-2   cifar-10/zca   "
                              "convnet-d3-w128-instance   50       gsam"));
  EXPECT_THAT(text, HasSubstr("random"));
  EXPECT_THAT(text, HasSubstr("65.0 MiB"));
  expert.mutable_start()->set_trained(true);
  expert.mutable_start()->add_segments("sha256:s");
  expert.add_jobs("projects/default/jobs/j1");
  expert.add_jobs("projects/default/jobs/j2");
  text = ExpertTable({expert}, absl::FromUnixSeconds(1060), 0);
  EXPECT_THAT(text, HasSubstr("after 1 segment"));
  EXPECT_THAT(text, HasSubstr("j1 (+1)"));
  text = ExpertTable({expert}, absl::FromUnixSeconds(1060), 80);
  EXPECT_THAT(text, HasSubstr("j1 (+1)"));
  EXPECT_THAT(text, HasSubstr("65.0 MiB"));
}

TEST(DescribeExpert, ShowsWhatItsKeyIsMadeOf) {
  v1::Expert expert = MakeExpert();
  expert.set_parameters_json("{\"seed\":7}");
  expert.set_training_accuracy(98.5);
  auto* input = expert.add_inputs();
  input->set_input("dataset");
  input->set_made_by("whiten_dataset 1a2b3c");
  const std::string text = DescribeExpert(expert, absl::FromUnixSeconds(1060));
  for (const char* part :
       {"group:           2 of 5", "preprocessing:   zca", "gsam, rho 0.01",
        "98.50 % of the training images", "whiten_dataset 1a2b3c",
        "parameters {\"seed\":7}"}) {
    EXPECT_THAT(text, HasSubstr(part));
  }
  EXPECT_THAT(text, Not(HasSubstr("final loss")));
}

TEST(PruneSummary, SaysWhatWentAndWhatIsKeptForLiveJobs) {
  v1::PruneExpertsResponse response;
  *response.add_pruned() = MakeExpert();
  response.set_pruned_count(101);
  response.set_pruned_bytes(int64_t{3} << 30);
  *response.add_in_use() = MakeExpert();
  response.set_in_use_count(1);
  const absl::Time now = absl::FromUnixSeconds(1060);
  const std::string text = PruneSummary(response, false, now, 0);
  EXPECT_THAT(text, HasSubstr("and 100 more\npruned 101 experts, 3.0 GiB\n"));
  EXPECT_THAT(text, HasSubstr("kept 1 experts that live jobs use"));
  EXPECT_THAT(PruneSummary(response, true, now, 0),
              HasSubstr("would prune 101 experts"));
}

TEST(VerdictLine, TellsGoodFromQuarantined) {
  v1::VerifyExpertResponse response;
  *response.mutable_expert() = MakeExpert();
  response.set_result(v1::VerifyExpertResponse::RESULT_OK);
  EXPECT_THAT(VerdictLine(response), HasSubstr("ok           aaaaaaaaaaaa-2"));
  response.set_result(v1::VerifyExpertResponse::RESULT_QUARANTINED);
  response.set_message("bytes differ");
  EXPECT_THAT(VerdictLine(response), HasSubstr("quarantined  aaaaaaaaaaaa-2"));
  EXPECT_THAT(VerdictLine(response), HasSubstr("bytes differ"));
}

}  // namespace
}  // namespace dasm
