#include "common/spec/evaluation_reader.h"

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/spec/network_reader.h"
#include "common/spec/spec_enums.h"

namespace dasm {
namespace {

std::vector<Baseline> ReadBaselines(const v1::EvaluationSpec& from,
                                    bool evaluate_only, FieldReader* reader) {
  std::vector<Baseline> to;
  for (const int value : from.baselines()) {
    switch (static_cast<v1::EvaluationSpec::Baseline>(value)) {
      case v1::EvaluationSpec::BASELINE_RANDOM:
        to.push_back(Baseline::kRandom);
        break;
      case v1::EvaluationSpec::BASELINE_TILES:
        to.push_back(Baseline::kTiles);
        break;
      case v1::EvaluationSpec::BASELINE_START:
        to.push_back(Baseline::kStart);
        break;
      default:
        if (from.baselines_size() > 1) {
          reader->Refuse("evaluation.baselines", "none must stand alone");
        }
    }
  }
  std::sort(to.begin(), to.end());
  if (std::adjacent_find(to.begin(), to.end()) != to.end()) {
    reader->Refuse("evaluation.baselines",
                   "names a baseline twice: remove one");
  }
  if (evaluate_only &&
      std::find(to.begin(), to.end(), Baseline::kStart) != to.end()) {
    reader->Refuse("evaluation.baselines",
                   "start is the beginning of a distillation, which an "
                   "existing set does not have: leave it out");
  }
  return to;
}

// As given: the first is the job's result.
std::vector<Order> ReadOrders(const v1::EvaluationSpec& from,
                              const EvaluatedSet& set, FieldReader* reader) {
  std::vector<Order> to;
  for (const int value : from.orders()) {
    to.push_back(FromProto(static_cast<v1::EvaluationSpec::Order>(value)));
    if (std::count(to.begin(), to.end(), to.back()) > 1) {
      reader->Refuse("evaluation.orders", "names an order twice: remove one");
    }
  }
  // All orders of one segment are one.
  if (to.empty() || !set.several_segments) return {Order::kUnion};
  return to;
}

}  // namespace

EvaluationSpec ReadEvaluation(const v1::EvaluationSpec& from,
                              const EvaluatedSet& set, FieldReader* reader) {
  EvaluationSpec to;
  to.training.recipe = FromProto(from.recipe());
  to.training.steps =
      reader->Within("evaluation.steps", from.steps(), 0, 100'000'000);
  to.training.batch = reader->Within("evaluation.batch", from.batch(), 1, 4096);
  to.training.learning_rate = to.training.recipe == Recipe::kTrajectory
                                  ? reader->Number("evaluation.learning_rate",
                                                   from.learning_rate(), 0, 10)
                                  : reader->Positive("evaluation.learning_rate",
                                                     from.learning_rate(), 10);
  to.training.momentum =
      reader->BelowOne("evaluation.momentum", from.momentum());
  to.training.weight_decay =
      reader->Number("evaluation.weight_decay", from.weight_decay(), 0, 1);
  to.training.augmentation =
      reader->Augmentations("evaluation.augmentation", from.augmentation());
  to.training.cutmix = reader->Number("evaluation.cutmix", from.cutmix(), 0, 1);
  to.epochs = reader->Within("evaluation.epochs", from.epochs(), 0, 100'000);
  to.repeats = reader->Within("evaluation.repeats", from.repeats(), 1, 100);
  to.prefixes = from.prefixes();
  to.seed = from.seed();
  if (from.networks_size() > 100) {
    reader->Refuse("evaluation.networks", "more than 100 networks");
    return to;
  }
  for (int i = 0; i < from.networks_size(); ++i) {
    const std::string field = absl::StrCat("evaluation.networks[", i, "]");
    const NetworkSpec network =
        ReadNetworkName(from.networks(i), set.network, field, reader);
    if (std::find(to.networks.begin(), to.networks.end(), network) !=
        to.networks.end()) {
      reader->Refuse(field, absl::StrCat(network.ToString(),
                                         " is listed twice: remove one"));
    }
    to.networks.push_back(network);
  }
  to.baselines = ReadBaselines(from, set.evaluate_only, reader);
  to.orders = ReadOrders(from, set, reader);
  if (to.training.steps > 0 && to.orders != std::vector{Order::kUnion}) {
    reader->Refuse("evaluation.steps",
                   "is the length of one training, but evaluation.orders "
                   "names one in stages: give evaluation.epochs, the length "
                   "of a stage");
  }
  to.protocol = FromProto(from.protocol());
  return to;
}

}  // namespace dasm
