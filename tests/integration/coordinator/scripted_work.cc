#include "tests/integration/coordinator/scripted_work.h"

#include <vector>

#include "absl/strings/str_cat.h"

namespace dasm::testing_support {
namespace {

struct Script {
  std::vector<std::string> outputs;
  std::string summary;
};

const std::map<std::string, Script>& Scripts() {
  static const auto* scripts = new std::map<std::string, Script>{
      {"prepare_dataset", {{"dataset"}, R"({"train":240,"test":60})"}},
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

}  // namespace

ScriptedResult WorkOn(const std::string& kind, const std::string& key) {
  const Script& script = Scripts().at(kind);
  ScriptedResult result;
  for (const std::string& output : script.outputs) {
    result.outputs[output] = absl::StrCat(key, "/", output);
  }
  result.summary_json = script.summary;
  return result;
}

}  // namespace dasm::testing_support
