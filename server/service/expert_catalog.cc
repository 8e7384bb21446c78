#include "server/service/expert_catalog.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "common/spec/spec_writer.h"
#include "common/spec/task_parameters.h"
#include "nlohmann/json.hpp"
#include "server/manager/job_proto.h"

namespace dasm {
namespace {

constexpr int kGroupsAtOnce = 256;
constexpr size_t kLeastDigits = 8;
constexpr size_t kKeyDigits = 64;
constexpr char kPrefix[] = "experts/";

ResultFilter Experts() {
  ResultFilter filter;
  filter.kind = TrainExpertsParameters::kKind;
  return filter;
}

// Of the outputs expert.1, expert.2, ...; null: there is none of the number.
const OutputRecord* OutputOf(const ActionRecord& group, int number) {
  const auto it = group.outputs.find(absl::StrCat("expert.", number));
  return it == group.outputs.end() ? nullptr : &it->second;
}

absl::Status NoSuchExpert(const std::string& name) {
  return WithReason(
      absl::NotFoundError(absl::StrCat(
          name, " does not exist; it was never trained here, or was pruned")),
      "EXPERT_NOT_FOUND");
}

void WriteTraining(const ExpertTraining& from, v1::ExpertSpec* to) {
  to->set_epochs(from.epochs);
  to->set_batch(from.batch);
  to->set_learning_rate(static_cast<float>(from.learning_rate));
  to->set_momentum(static_cast<float>(from.momentum));
  to->set_weight_decay(static_cast<float>(from.weight_decay));
  const bool gsam = from.optimizer == ExpertOptimizer::kGsam;
  to->set_optimizer(gsam ? v1::ExpertSpec::OPTIMIZER_GSAM
                         : v1::ExpertSpec::OPTIMIZER_SGD);
  if (gsam) {
    to->set_gsam_rho(static_cast<float>(from.gsam_rho));
    to->set_gsam_alpha(static_cast<float>(from.gsam_alpha));
  }
  WriteAugmentations(from.augmentation, to->mutable_augmentation());
  const DataScheduleSpec& schedule = from.schedule;
  if (!schedule.enabled) return;
  v1::DataSchedule* written = to->mutable_schedule();
  written->set_initial_share(static_cast<float>(schedule.initial_share));
  written->set_growth_epochs(schedule.growth_epochs);
  for (const auto& removal : schedule.removals) {
    auto* added = written->add_removals();
    added->set_after_epoch(removal.after_epoch);
    added->set_share(static_cast<float>(removal.share));
  }
  written->set_gradual(schedule.gradual);
}

v1::EvaluationSpec::Order ToProto(Order order) {
  switch (order) {
    case Order::kUnion:
      return v1::EvaluationSpec::ORDER_UNION;
    case Order::kCumulative:
      return v1::EvaluationSpec::ORDER_CUMULATIVE;
    case Order::kStaged:
      return v1::EvaluationSpec::ORDER_STAGED;
  }
  return v1::EvaluationSpec::ORDER_UNSPECIFIED;
}

void WriteStart(const ExpertStart& from, const ActionRecord& group,
                v1::ExpertStart* to) {
  to->set_trained(from.trained);
  if (!from.trained) return;
  to->set_order(ToProto(from.order));
  for (int k = 1;; ++k) {
    const auto segment = group.inputs.find(absl::StrCat("segment.", k));
    if (segment == group.inputs.end()) return;
    to->add_segments(segment->second.digest);
  }
}

// A number of the summary: of the group, or a list with one for each expert.
std::optional<double> SummaryNumber(const nlohmann::json& summary,
                                    const char* name, int number) {
  if (!summary.is_object()) return std::nullopt;
  const auto value = summary.find(name);
  if (value == summary.end()) return std::nullopt;
  if (value->is_number()) return value->get<double>();
  const auto index = static_cast<size_t>(number - 1);
  if (value->is_array() && index < value->size() &&
      (*value)[index].is_number()) {
    return (*value)[index].get<double>();
  }
  return std::nullopt;
}

}  // namespace

absl::StatusOr<ExpertCatalog::Found> ExpertCatalog::Find(
    const std::string& name, const std::string& field) {
  absl::string_view id = name;
  absl::ConsumePrefix(&id, kPrefix);
  const size_t dash = id.rfind('-');
  Found found;
  const absl::string_view key = id.substr(0, dash);
  if (dash == absl::string_view::npos || key.size() < kLeastDigits ||
      key.size() > kKeyDigits ||
      !std::all_of(key.begin(), key.end(),
                   [](char c) {
                     return absl::ascii_isxdigit(c) && !absl::ascii_isupper(c);
                   }) ||
      !absl::SimpleAtoi(id.substr(dash + 1), &found.number)) {
    return InvalidField(
        field, absl::StrCat("\"", name,
                            "\" is not experts/{group}-{number} with at least "
                            "eight hex digits of the group, as a list has it"));
  }
  ResultFilter filter = Experts();
  filter.key_prefix = std::string(key);
  DASM_ASSIGN_OR_RETURN(std::vector<ActionRecord> groups,
                        store_->ListResults(filter, {}, 2));
  if (groups.empty()) return NoSuchExpert(name);
  if (groups.size() > 1) {
    return InvalidField(field, absl::StrCat("\"", name,
                                            "\" fits several groups; give more "
                                            "digits"));
  }
  found.group = std::move(groups.front());
  if (OutputOf(found.group, found.number) == nullptr) return NoSuchExpert(name);
  return found;
}

absl::StatusOr<ExpertCatalog::Page> ExpertCatalog::List(
    const std::string& filter_text, int page_size,
    const std::string& page_token) {
  DASM_ASSIGN_OR_RETURN(const ExpertFilter filter,
                        ParseExpertFilter(filter_text));
  ExpertPosition last;
  if (!page_token.empty()) {
    DASM_ASSIGN_OR_RETURN(last, DecodeExpertToken(filter_text, page_token));
  }
  Page page;
  // The group that the page before ended in is read again for its rest: a key
  // with one more digit comes just before it.
  ResultPosition after = last.group;
  if (last.number > 0) after.key += "0";
  for (;;) {
    DASM_ASSIGN_OR_RETURN(const std::vector<ActionRecord> groups,
                          store_->ListResults(Experts(), after, kGroupsAtOnce));
    if (groups.empty()) return page;
    for (const ActionRecord& group : groups) {
      DASM_ASSIGN_OR_RETURN(std::vector<v1::Expert> experts,
                            DescribeAll(group));
      for (v1::Expert& expert : experts) {
        const int number = expert.number();
        if (group.key == last.group.key && number <= last.number) continue;
        if (!filter.Matches(expert)) continue;
        if (page.experts.size() == static_cast<size_t>(page_size)) {
          page.next_page_token = EncodeExpertToken(filter_text, last);
          return page;
        }
        page.experts.push_back(std::move(expert));
        last = {{group.end_time, group.key}, number};
      }
    }
    after = {groups.back().end_time, groups.back().key};
  }
}

absl::StatusOr<std::vector<std::string>> ExpertCatalog::Select(
    const ExpertFilter& filter) {
  std::vector<std::string> keys;
  ResultPosition after;
  for (;;) {
    DASM_ASSIGN_OR_RETURN(const std::vector<ActionRecord> groups,
                          store_->ListResults(Experts(), after, kGroupsAtOnce));
    if (groups.empty()) return keys;
    for (const ActionRecord& group : groups) {
      DASM_ASSIGN_OR_RETURN(const v1::Expert expert,
                            Describe(group, 1, v1::EXPERT_VIEW_BASIC));
      if (filter.Matches(expert)) keys.push_back(group.key);
    }
    after = {groups.back().end_time, groups.back().key};
  }
}

absl::StatusOr<ActionRecord> ExpertCatalog::MakerOf(const std::string& digest) {
  DASM_ASSIGN_OR_RETURN(std::vector<ActionRecord> actions,
                        store_->FindActionsByOutput(digest));
  for (ActionRecord& action : actions) {
    for (const auto& [name, output] : action.outputs) {
      if (output.blob.digest == digest) return std::move(action);
    }
  }
  return ActionRecord();
}

absl::StatusOr<ExpertCatalog::Dataset> ExpertCatalog::DatasetOf(
    const std::string& digest) {
  if (const auto known = datasets_.find(digest); known != datasets_.end()) {
    return known->second;
  }
  Dataset dataset;
  DASM_ASSIGN_OR_RETURN(ActionRecord maker, MakerOf(digest));
  if (maker.kind == WhitenDatasetParameters::kKind &&
      maker.inputs.contains("dataset")) {
    dataset.preprocessing = v1::DatasetSpec::PREPROCESSING_ZCA;
    DASM_ASSIGN_OR_RETURN(maker, MakerOf(maker.inputs.at("dataset").digest));
  }
  const auto parameters =
      ParseTaskParameters(maker.kind, maker.parameters_json);
  if (parameters.ok() &&
      std::holds_alternative<PrepareDatasetParameters>(*parameters)) {
    dataset.name = std::get<PrepareDatasetParameters>(*parameters).name;
  }
  datasets_[digest] = dataset;
  return dataset;
}

absl::StatusOr<v1::Expert> ExpertCatalog::Describe(const ActionRecord& group,
                                                   int number,
                                                   v1::ExpertView view) {
  v1::Expert expert;
  const OutputRecord* output = OutputOf(group, number);
  if (output == nullptr) {
    return NoSuchExpert(absl::StrCat(kPrefix, group.key, "-", number));
  }
  DASM_ASSIGN_OR_RETURN(const TaskParameters parsed,
                        ParseTaskParameters(group.kind, group.parameters_json));
  const auto& parameters = std::get<TrainExpertsParameters>(parsed);
  expert.set_name(absl::StrCat(kPrefix, group.key, "-", number));
  expert.set_digest(output->blob.digest);
  expert.set_size_bytes(output->blob.size_bytes);
  expert.set_number(number);
  expert.set_group_size(parameters.count);
  if (const auto input = group.inputs.find("dataset");
      input != group.inputs.end()) {
    DASM_ASSIGN_OR_RETURN(const Dataset dataset,
                          DatasetOf(input->second.digest));
    expert.set_dataset(dataset.name);
    expert.set_preprocessing(dataset.preprocessing);
  }
  expert.set_network(parameters.network.ToString());
  WriteTraining(parameters.training, expert.mutable_training());
  expert.set_index(parameters.first + number - 1);
  expert.set_seed(parameters.seed);
  WriteStart(parameters.start, group, expert.mutable_start());
  expert.set_numerics_class(group.numerics_class);
  *expert.mutable_create_time() = ToProto(group.end_time);
  *expert.mutable_use_time() =
      ToProto(std::max(group.use_time, group.end_time));
  expert.set_training_seconds(group.seconds);
  const auto summary =
      nlohmann::json::parse(group.summary_json, nullptr, false);
  if (const auto loss = SummaryNumber(summary, "final_loss", number)) {
    expert.set_final_loss(*loss);
  }
  if (const auto accuracy =
          SummaryNumber(summary, "training_accuracy", number)) {
    expert.set_training_accuracy(*accuracy);
  }
  DASM_ASSIGN_OR_RETURN(const std::vector<JobRecord> users,
                        store_->ListLiveUsers(group.key));
  for (const JobRecord& job : users) {
    expert.add_jobs(absl::StrCat("projects/", job.project, "/jobs/", job.id));
  }
  if (view != v1::EXPERT_VIEW_FULL) return expert;
  expert.set_parameters_json(group.parameters_json);
  expert.set_summary_json(group.summary_json);
  for (const auto& [name, blob] : group.inputs) {
    v1::ExpertInput* input = expert.add_inputs();
    input->set_input(name);
    input->set_digest(blob.digest);
    input->set_size_bytes(blob.size_bytes);
    DASM_ASSIGN_OR_RETURN(const ActionRecord maker, MakerOf(blob.digest));
    if (!maker.key.empty()) {
      input->set_made_by(
          absl::StrCat(maker.kind, " ", maker.key.substr(0, 12)));
    }
  }
  return expert;
}

absl::StatusOr<std::vector<v1::Expert>> ExpertCatalog::DescribeAll(
    const ActionRecord& group) {
  std::vector<v1::Expert> experts;
  for (int number = 1; OutputOf(group, number) != nullptr; ++number) {
    DASM_ASSIGN_OR_RETURN(experts.emplace_back(),
                          Describe(group, number, v1::EXPERT_VIEW_BASIC));
  }
  return experts;
}

}  // namespace dasm
