#include "tests/integration/coordinator/scripted_work.h"

#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/logging.h"
#include "common/spec/task_parameters.h"

namespace dasm::testing_support {
namespace {

struct Script {
  std::vector<std::string> outputs;
  std::string summary;
};

const std::map<std::string, Script>& Scripts() {
  static const auto* scripts = new std::map<std::string, Script>{
      {"prepare_dataset", {{"dataset"}, R"({"train":240,"test":60})"}},
      {"whiten_dataset", {{"dataset", "zca"}, R"({"dimensions":256})"}},
      {"import_scores", {{"ranking"}, R"({"images":240,"rule":"file"})"}},
      {"rank_samples", {{"ranking"}, R"({"runs":2,"mean_score":0.5})"}},
      {"train_experts", {{}, R"({"epochs":3,"training_accuracy":75})"}},
      {"find_range", {{"range"}, R"({"start_epoch_max":2,"probes":1})"}},
      {"match_trajectories",
       {{"segment", "start", "curves"},
        R"({"iterations":8,"skipped":0,"final_loss":0.9,"step_size":0.02})"}},
      {"distill_segment",
       {{"segment", "start"}, R"({"steps":40,"final_loss":1.5})"}},
      {"train_discriminator", {{"weights"}, R"({"steps":60})"}},
      {"score_samples", {{"scores"}, R"({"training_accuracy":80.5})"}},
      {"select_pool", {{"pool"}, R"({"learned_fraction":0.75,"rule":"V1"})"}},
      {"select_coreset", {{"set"}, "{}"}},
      {"evaluate", {{"predictions"}, R"({"accuracy":57.5,"steps":60})"}},
      {"assemble",
       {{"synthetic", "start", "grid"},
        R"({"images":6,"stored_bytes":6144})"}}};
  return *scripts;
}

// The outputs that a task of its kind has by its parameters.
struct OutputsOf {
  std::vector<std::string> operator()(const TrainExpertsParameters& p) const {
    std::vector<std::string> outputs;
    for (int i = 1; i <= p.count; ++i) {
      outputs.push_back(absl::StrCat("expert.", i));
    }
    return outputs;
  }
  std::vector<std::string> operator()(
      const MatchTrajectoriesParameters& p) const {
    const TrajectoryMatchingSpec& m = p.matching;
    const bool averaged = m.pixel_ema > 0;
    std::vector<std::string> outputs;
    if (averaged) outputs.push_back("raw");
    if (m.snapshot_interval == 0) return outputs;
    for (int i = m.snapshot_interval; i < m.iterations;
         i += m.snapshot_interval) {
      outputs.push_back(absl::StrCat("snapshot.", i));
      if (averaged) outputs.push_back(absl::StrCat("raw_snapshot.", i));
    }
    return outputs;
  }
  std::vector<std::string> operator()(const EvaluateParameters& p) const {
    if (p.split == Split::kTest) return {};
    return {"validation_predictions"};
  }
  template <typename Other>
  std::vector<std::string> operator()(const Other&) const {
    return {};
  }
};

}  // namespace

ScriptedResult WorkOn(const std::string& kind, const std::string& key,
                      const std::string& parameters_json) {
  const Script& script = Scripts().at(kind);
  const auto parameters = ParseTaskParameters(kind, parameters_json);
  DASM_CHECK(parameters.ok());
  std::vector<std::string> outputs = std::visit(OutputsOf(), *parameters);
  outputs.insert(outputs.end(), script.outputs.begin(), script.outputs.end());
  ScriptedResult result;
  for (const std::string& output : outputs) {
    result.outputs[output] = absl::StrCat(key, "/", output);
  }
  result.summary_json = script.summary;
  if (result.outputs.contains("validation_predictions")) {
    result.summary_json = R"({"accuracy":57.5,"validation_accuracy":56.5})";
  }
  return result;
}

}  // namespace dasm::testing_support
