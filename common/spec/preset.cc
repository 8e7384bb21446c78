#include "common/spec/preset.h"

#include <array>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/error.h"
#include "common/spec/known_dataset.h"
#include "common/spec/nearest.h"
#include "common/spec/spec_writer.h"
#include "common/spec/trajectory_default.h"
#include "common/spec/trajectory_preset.h"
#include "common/spec/trajectory_table.h"

namespace dasm {
namespace {

enum class Budget { kPaper, kFast, kQuick };

struct PresetKey {
  bool dasm = false;
  const KnownDataset* dataset = nullptr;
  int images_per_class = 0;
  bool strict = false;
  int factor = 2;
  Budget budget = Budget::kPaper;
};

std::string BudgetName(Budget budget) {
  switch (budget) {
    case Budget::kPaper:
      return "paper";
    case Budget::kFast:
      return "fast";
    case Budget::kQuick:
      return "quick";
  }
  return "";
}

std::string NameOf(const PresetKey& key, bool with_paper) {
  std::string name =
      absl::StrCat(key.dasm ? "dasm-idc/" : "idc/", key.dataset->name, "/ipc",
                   key.images_per_class);
  if (key.strict) absl::StrAppend(&name, "/strict");
  if (key.factor != key.dataset->DefaultFactor(key.images_per_class)) {
    absl::StrAppend(&name, "/factor", key.factor);
  }
  if (with_paper || key.budget != Budget::kPaper) {
    absl::StrAppend(&name, "/", BudgetName(key.budget));
  }
  return name;
}

// Every preset once, in the order of its parts.
std::vector<PresetKey> AllKeys() {
  std::vector<PresetKey> keys;
  for (const bool dasm : {true, false}) {
    for (const KnownDataset& dataset : KnownDatasets()) {
      for (const int ipc : dataset.images_per_class) {
        for (const bool strict : {false, true}) {
          // Without a second segment there is no pool to be strict about.
          if (strict && (!dasm || ipc == 1)) continue;
          const int usual = dataset.DefaultFactor(ipc);
          for (const int factor : {usual, 3 - usual}) {
            for (const Budget budget :
                 {Budget::kPaper, Budget::kFast, Budget::kQuick}) {
              keys.push_back({dasm, &dataset, ipc, strict, factor, budget});
            }
          }
        }
      }
    }
  }
  return keys;
}

void SetMatching(const KnownDataset& row, int factor,
                 v1::GradientMatching* matching) {
  const GradientMatchingSpec common;  // what all rows share
  matching->set_distance(row.distance == Distance::kL1
                             ? v1::GradientMatching::DISTANCE_L1
                             : v1::GradientMatching::DISTANCE_MSE);
  matching->set_layers(v1::GradientMatching::LAYERS_CONVOLUTIONS);
  matching->set_inits(common.inits);
  matching->set_later_inits(common.later_inits);
  matching->set_steps_per_init(common.steps_per_init);
  matching->set_real_batch(common.real_batch);
  matching->set_synthetic_batch(common.synthetic_batch);
  matching->set_image_learning_rate(
      static_cast<float>(row.image_learning_rate));
  matching->set_scale_learning_rate(true);
  matching->set_base_size(row.base_size);
  matching->set_image_momentum(static_cast<float>(common.image_momentum));
  matching->set_net_steps(row.net_steps);
  matching->set_net_batch(common.net_batch);
  matching->set_net_learning_rate(static_cast<float>(common.net_learning_rate));
  matching->set_net_momentum(static_cast<float>(common.net_momentum));
  matching->set_net_weight_decay(static_cast<float>(common.net_weight_decay));
  matching->set_inits_per_step(common.inits_per_step);

  using enum Augmentation;
  const bool plain = row.small_digits && factor > 1;
  WriteAugmentations(
      plain ? std::vector{kColor, kCrop} : std::vector{kColor, kCrop, kCutout},
      matching->mutable_augmentation());
  // Cutout is left out of the network's augmentation because of CutMix.
  WriteAugmentations({kColor, kCrop}, matching->mutable_net_augmentation());
  matching->set_net_cutmix(plain ? 0.0f : 0.5f);
}

void SetDasm(const KnownDataset& row, v1::Dasm* dasm) {
  const SequenceSpec common;
  dasm->set_pool(v1::Dasm::POOL_MISCLASSIFIED);
  dasm->set_mix(static_cast<float>(common.mix));
  dasm->set_trim(static_cast<float>(common.trim));
  dasm->set_discriminators(common.discriminators);
  dasm->set_discriminator_epochs(row.discriminator_epochs);
  dasm->set_discriminator_steps(common.discriminator_steps);
  dasm->set_quantile_floor(static_cast<float>(common.quantile_floor));
  dasm->set_el2n_threshold(static_cast<float>(common.el2n_threshold));
  dasm->set_weight_floor(static_cast<float>(common.weight_floor));
  dasm->set_weight_power(static_cast<float>(common.weight_power));
  // EL2N is read off after 20 epochs of real data (Paul et al. 2021).
  constexpr int kReferenceEpochs = 20;
  constexpr int kBatch = 64;
  dasm->set_reference_steps(kReferenceEpochs *
                            ((row.train_images + kBatch - 1) / kBatch));
}

void SetEvaluation(const KnownDataset& row, const DefaultsFor& what, int factor,
                   v1::EvaluationSpec* evaluation) {
  const TrainingRecipe common;
  evaluation->set_repeats(3);
  evaluation->set_seed(0);
  evaluation->set_protocol(v1::EvaluationSpec::PROTOCOL_LAST);
  // Trajectories: where there are several segments.
  if (!what.trajectory) evaluation->set_prefixes(true);
  evaluation->set_learning_rate(static_cast<float>(common.learning_rate));
  evaluation->set_momentum(static_cast<float>(common.momentum));
  evaluation->set_weight_decay(static_cast<float>(common.weight_decay));
  if (what.trajectory) {
    evaluation->add_baselines(v1::EvaluationSpec::BASELINE_RANDOM);
  } else if (what.sequence) {
    evaluation->add_baselines(v1::EvaluationSpec::BASELINE_RANDOM);
    evaluation->add_baselines(v1::EvaluationSpec::BASELINE_TILES);
    evaluation->add_baselines(v1::EvaluationSpec::BASELINE_START);
  } else {
    evaluation->add_baselines(v1::EvaluationSpec::BASELINE_NONE);
  }
  const Recipe recipe = what.recipe.value_or(
      what.trajectory ? Recipe::kTrajectory : Recipe::kIdc);
  if (recipe == Recipe::kTrajectory) {
    SetTrajectoryRecipe(what.soft_labels, row.flip, evaluation);
    if (what.sequence && !what.trajectory) {
      // No step size was learned.
      evaluation->set_learning_rate(static_cast<float>(common.learning_rate));
    }
    return;
  }
  using enum Augmentation;
  if (recipe == Recipe::kDc) {
    evaluation->set_recipe(v1::EvaluationSpec::RECIPE_DC);
    evaluation->set_batch(256);
    evaluation->set_cutmix(0);
    // DC augments in evaluation for MNIST only.
    WriteAugmentations(row.small_digits ? std::vector{kCrop, kScale, kRotate}
                                        : std::vector<Augmentation>{},
                       evaluation->mutable_augmentation());
    return;
  }
  evaluation->set_recipe(v1::EvaluationSpec::RECIPE_IDC);
  evaluation->set_batch(common.batch);
  std::vector<Augmentation> augmentation = {kColor, kCrop};
  bool cutmix = true;
  if (row.small_digits && factor > 1) cutmix = false;
  if (row.name == "svhn" && factor == 1 && what.images_per_class == 1) {
    cutmix = false;
    augmentation.push_back(kCutout);
  }
  if (row.flip) augmentation.push_back(kFlip);
  augmentation.push_back(kScale);
  augmentation.push_back(kRotate);
  WriteAugmentations(augmentation, evaluation->mutable_augmentation());
  evaluation->set_cutmix(cutmix ? 0.5f : 0.0f);
}

v1::JobSpec SpecOf(const PresetKey& key) {
  v1::JobSpec spec = DefaultSpec({.dataset = key.dataset->name,
                                  .images_per_class = key.images_per_class,
                                  .factor = key.factor,
                                  .dasm = key.dasm});
  spec.mutable_dataset()->set_name(key.dataset->name);
  spec.set_images_per_class(key.images_per_class);
  v1::GradientMatching& matching = *spec.mutable_matching()->mutable_gradient();
  v1::SequenceSpec& sequence = *spec.mutable_sequence();
  if (key.strict) {
    sequence.mutable_dasm()->set_mix(1);
    sequence.mutable_dasm()->set_trim(0);
  }
  switch (key.budget) {
    case Budget::kPaper:
      break;
    case Budget::kFast:
      matching.set_later_inits(500);
      break;
    case Budget::kQuick:
      matching.set_inits(4);
      matching.set_later_inits(4);
      matching.set_steps_per_init(10);
      matching.set_image_learning_rate(
          static_cast<float>(10 * key.dataset->image_learning_rate));
      spec.mutable_evaluation()->set_steps(600);
      if (key.dasm) {
        sequence.mutable_dasm()->set_discriminators(1);
        sequence.mutable_dasm()->set_discriminator_steps(300);
        sequence.mutable_dasm()->set_reference_steps(0);
      }
      break;
  }
  return spec;
}

std::string SummaryOf(const PresetKey& key) {
  std::string summary = absl::StrCat(
      key.dasm ? "DASM on IDC, " : "IDC, ", key.dataset->name, ", ",
      key.images_per_class, " images per class, factor ", key.factor);
  if (key.strict) absl::StrAppend(&summary, ", strict pool");
  switch (key.budget) {
    case Budget::kPaper:
      break;
    case Budget::kFast:
      absl::StrAppend(&summary, ", shorter later segments");
      break;
    case Budget::kQuick:
      absl::StrAppend(&summary,
                      ", for a CPU: minutes on two cores with network.width "
                      "32 and up to 10 images per class");
      break;
  }
  return summary;
}

}  // namespace

v1::JobSpec DefaultSpec(const DefaultsFor& what) {
  const KnownDataset* row = FindKnownDataset(what.dataset);
  if (row == nullptr) row = FindKnownDataset("cifar-10");
  // An existing set is taken as it is; our own know their factor.
  const int usual =
      what.sequence ? row->DefaultFactor(what.images_per_class) : 1;
  const int factor = what.factor > 0   ? what.factor
                     : what.trajectory ? 1
                                       : usual;

  v1::JobSpec spec;
  spec.mutable_dataset()->set_preprocessing(
      v1::DatasetSpec::PREPROCESSING_NORMALIZE);
  spec.mutable_dataset()->set_validation(0);
  const NetworkSpec network;
  spec.mutable_network()->set_name(network.name);
  spec.mutable_network()->set_depth(network.depth);
  spec.mutable_network()->set_width(network.width);
  spec.mutable_network()->set_norm(v1::NetworkSpec::NORM_INSTANCE);
  spec.mutable_synthesis()->set_factor(factor);
  if (what.sequence) {
    spec.mutable_synthesis()->set_init(v1::SynthesisSpec::INIT_REAL);
    if (what.trajectory) {
      const TrajectoryRow& nearest =
          *NearestRow(MttRows(), "cifar-10", what.images_per_class);
      SetTrajectory(nearest, row->flip, &spec);
      if (nearest.zca && what.dataset.starts_with("cifar-")) {
        spec.mutable_dataset()->set_preprocessing(
            v1::DatasetSpec::PREPROCESSING_ZCA);
      }
    } else {
      SetMatching(*row, factor, spec.mutable_matching()->mutable_gradient());
    }
    if (what.dasm) {
      SetDasm(*row, spec.mutable_sequence()->mutable_dasm());
      if (what.trajectory) {
        spec.mutable_sequence()->mutable_dasm()->set_union_(false);
      }
    } else if (what.seqmatch) {
      spec.mutable_sequence()->mutable_seqmatch();
    } else {
      spec.mutable_sequence()->mutable_one_segment();
    }
  }
  SetEvaluation(*row, what, factor, spec.mutable_evaluation());
  const ExecutionSpec execution;
  spec.mutable_execution()->set_train_group(execution.train_group);
  spec.mutable_execution()->set_forward_group(execution.forward_group);
  spec.mutable_execution()->set_precision(v1::ExecutionSpec::PRECISION_FP32);
  spec.mutable_execution()->set_reduction(v1::ExecutionSpec::REDUCTION_ORDERED);
  spec.mutable_execution()->set_micro_batch(execution.micro_batch);
  WriteResources(ResourceSpec{}, spec.mutable_resources());
  spec.set_seed(0);
  return spec;
}

std::vector<PresetInfo> AllPresets() {
  std::vector<PresetInfo> presets;
  for (const PresetKey& key : AllKeys()) {
    presets.push_back(
        {.name = NameOf(key, /*with_paper=*/false),
         .summary = SummaryOf(key),
         .source = key.dasm
                       ? "Kim et al. 2022 (IDC), table of its reproduction "
                         "script; DASM defaults of this project"
                       : "Kim et al. 2022 (IDC), table of its reproduction "
                         "script"});
  }
  for (const TrajectoryPreset& preset : TrajectoryPresets()) {
    presets.push_back(preset.info);
  }
  return presets;
}

absl::StatusOr<v1::JobSpec> FindPreset(std::string_view name) {
  std::vector<std::string> names;
  for (const PresetKey& key : AllKeys()) {
    std::string short_name = NameOf(key, /*with_paper=*/false);
    if (name == short_name || name == NameOf(key, /*with_paper=*/true)) {
      return SpecOf(key);
    }
    names.push_back(std::move(short_name));
  }
  for (const TrajectoryPreset& preset : TrajectoryPresets()) {
    if (name == preset.info.name || name == preset.paper_name) {
      return preset.spec;
    }
    names.push_back(preset.info.name);
  }
  return InvalidField(
      "preset", absl::StrCat("there is no preset \"", std::string(name),
                             "\"; the nearest is \"", Nearest(name, names),
                             "\" (dasmctl presets lists all)"));
}

}  // namespace dasm
