#include "common/spec/job_spec_proto.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "common/spec/known_dataset.h"
#include "common/spec/preset.h"
#include "common/spec/spec_merge.h"
#include "common/spec/spec_reader.h"

namespace dasm {
namespace {

// Refuses what has no meaning beside an existing set.
absl::Status CheckEvaluateOnly(const v1::JobSpec& given) {
  const auto refuse = [](const char* field) {
    return InvalidField(field,
                        "has no meaning beside synthetic_set, whose images are "
                        "evaluated as they are: remove one of the two");
  };
  if (given.has_sequence()) return refuse("sequence");
  if (given.has_matching()) return refuse("matching");
  if (given.has_images_per_class()) return refuse("images_per_class");
  if (given.synthesis().has_init()) return refuse("synthesis.init");
  return absl::OkStatus();
}

// A preset's evaluation settings belong to its recipe.
void DropOtherRecipe(const v1::JobSpec& given, v1::JobSpec* preset) {
  if (!given.evaluation().has_recipe() || !preset->has_evaluation() ||
      given.evaluation().recipe() == preset->evaluation().recipe()) {
    return;
  }
  v1::EvaluationSpec& evaluation = *preset->mutable_evaluation();
  evaluation.clear_recipe();
  evaluation.clear_batch();
  evaluation.clear_learning_rate();
  evaluation.clear_momentum();
  evaluation.clear_weight_decay();
  evaluation.clear_augmentation();
  evaluation.clear_cutmix();
}

// 0 where only the data set's content tells (the planner then decides).
int DerivedEpochs(const v1::EvaluationSpec& evaluation,
                  const DatasetSpec& dataset, int64_t decoded_per_class) {
  if (evaluation.recipe() == v1::EvaluationSpec::RECIPE_DC) {
    const bool augmented = evaluation.augmentation_size() > 0 &&
                           evaluation.augmentation(0) != v1::AUGMENTATION_NONE;
    return augmented ? 1000 : 300;
  }
  if (dataset.classes == 0 || decoded_per_class == 0) return 0;
  return IdcEvaluationEpochs(decoded_per_class * dataset.classes,
                             dataset.classes);
}

}  // namespace

absl::StatusOr<ExpandedSpec> ExpandSpec(const v1::JobSpec& given) {
  DASM_RETURN_IF_ERROR(CheckKnown(given, ""));
  const bool evaluate_only = given.has_synthetic_set();
  if (evaluate_only) DASM_RETURN_IF_ERROR(CheckEvaluateOnly(given));

  v1::JobSpec preset;
  if (given.has_preset()) {
    DASM_ASSIGN_OR_RETURN(preset, FindPreset(given.preset()));
    DropOtherRecipe(given, &preset);
    // Before the defaults meet the preset: what the spec displaces must not
    // displace them.
    Displace(given, &preset);
    if (evaluate_only) {
      preset.clear_images_per_class();
      preset.clear_matching();
      preset.clear_sequence();
      preset.mutable_synthesis()->clear_init();
      preset.mutable_evaluation()->clear_baselines();
    }
  }
  // What the defaults depend on is read off preset and spec alone.
  Origins unused;
  v1::JobSpec chosen = preset;
  Overlay(given, "spec", "", &chosen, &unused);
  const v1::JobSpec defaults = DefaultSpec(
      {.dataset = chosen.dataset().name(),
       .images_per_class = chosen.images_per_class(),
       .factor = chosen.synthesis().factor(),
       .sequence = !evaluate_only,
       .dasm = chosen.sequence().has_dasm(),
       .recipe = chosen.evaluation().recipe() == v1::EvaluationSpec::RECIPE_DC
                     ? Recipe::kDc
                     : Recipe::kIdc});

  ExpandedSpec expanded;
  Origins& origins = expanded.origins;
  v1::JobSpec merged;
  Overlay(defaults, "default", "", &merged, &origins);
  Overlay(preset, "preset", "", &merged, &origins);
  Overlay(given, "spec", "", &merged, &origins);
  if (!chosen.sequence().has_dasm() && !chosen.sequence().has_one_segment()) {
    // The method is never a guess.
    merged.clear_sequence();
  }
  if (given.matching().gradient().has_inits() &&
      !given.matching().gradient().has_later_inits()) {
    // A job that shortens its iterations shortens all of them.
    v1::GradientMatching& matching =
        *merged.mutable_matching()->mutable_gradient();
    if (matching.inits() < matching.later_inits()) {
      matching.set_later_inits(matching.inits());
      origins["matching.gradient.later_inits"] = "derived";
    }
  }

  if (merged.execution().reduction() == v1::ExecutionSpec::REDUCTION_FAST &&
      !chosen.resources().has_min_ranks()) {
    // Fewer ranks would be another result.
    merged.mutable_resources()->set_min_ranks(merged.resources().ranks());
    origins["resources.min_ranks"] = "derived";
  }

  FieldReader reader;
  JobSpec& spec = expanded.spec;
  const Recipe recipe =
      merged.evaluation().recipe() == v1::EvaluationSpec::RECIPE_DC
          ? Recipe::kDc
          : Recipe::kIdc;
  spec.name = reader.Text("name", merged.name(), 200);
  spec.dataset = ReadDataset(merged.dataset(), recipe, &reader);
  spec.network = ReadNetwork(merged.network(), &reader);
  spec.synthesis.factor =
      reader.Within("synthesis.factor", merged.synthesis().factor(), 1, 8);
  if (evaluate_only) {
    spec.synthetic_set = ReadSet(merged.synthetic_set(), &reader);
    if (!spec.synthetic_set->digest.empty() &&
        !chosen.synthesis().has_factor()) {
      reader.Refuse("synthesis.factor",
                    "is required with synthetic_set.digest: the factor that "
                    "the set was distilled with");
    }
  } else {
    if (!merged.has_images_per_class()) {
      reader.Refuse("images_per_class",
                    "is required: synthetic images for each class, e.g. 10");
    } else {
      spec.images_per_class = reader.Within(
          "images_per_class", merged.images_per_class(), 1, 100'000);
    }
    spec.matching = ReadMatching(merged.matching().gradient(),
                                 chosen.sequence().has_dasm(), &reader);
    spec.synthesis.init =
        merged.synthesis().init() == v1::SynthesisSpec::INIT_NOISE
            ? Init::kNoise
            : Init::kReal;
    DASM_RETURN_IF_ERROR(reader.status());
    spec.sequence =
        ReadSequence(merged.sequence(), spec.images_per_class, &reader);
  }
  if (merged.evaluation().networks_size() == 0) {
    merged.mutable_evaluation()->add_networks(spec.network.ToString());
  }
  if (!merged.evaluation().has_epochs()) {
    const int64_t decoded = int64_t{spec.images_per_class} *
                            spec.synthesis.factor * spec.synthesis.factor;
    merged.mutable_evaluation()->set_epochs(
        DerivedEpochs(merged.evaluation(), spec.dataset, decoded));
  }
  spec.evaluation =
      ReadEvaluation(merged.evaluation(), spec.network, evaluate_only, &reader);
  spec.execution =
      ReadExecution(merged.execution(), spec.network.norm, &reader);
  spec.resources = ReadResources(merged.resources(), spec.execution,
                                 !evaluate_only, &reader);
  spec.seed = merged.seed();
  spec.salt = reader.Text("salt", merged.salt(), 200);
  if (merged.labels_size() > 32) {
    reader.Refuse("labels", absl::StrCat("has ", merged.labels_size(),
                                         " labels, above 32"));
  }
  for (const auto& [key, value] : merged.labels()) {
    if (key.empty()) reader.Refuse("labels", "a label needs a name");
    spec.labels[reader.Text("labels." + key, key, 63)] =
        reader.Text("labels." + key, value, 255);
  }
  DASM_RETURN_IF_ERROR(reader.status());

  expanded.proto = ToProto(spec);
  if (given.has_preset()) expanded.proto.set_preset(given.preset());
  // Origins of what the canonical form leaves out (DASM settings of a single
  // segment) go; what it adds was derived.
  Origins all;
  MarkDerived(expanded.proto, "", &all);
  for (auto& [path, origin] : all) {
    const auto known = origins.find(path);
    if (known != origins.end()) origin = known->second;
  }
  for (const char* path : {"name", "salt"}) {
    if (!origins.contains(path)) all[path] = "default";
  }
  origins = std::move(all);
  return expanded;
}

absl::Status ValidateAgainstDataset(const JobSpec& spec,
                                    const DatasetFacts& facts) {
  const int side = std::min(facts.height, facts.width);
  if (facts.classes == 1) {
    return InvalidField("dataset", "has one class: at least two are needed");
  }
  if (facts.channels > 0 && !spec.dataset.mean.empty() &&
      spec.dataset.mean.size() != static_cast<size_t>(facts.channels)) {
    return InvalidField(
        "dataset.mean",
        absl::StrCat("has ", spec.dataset.mean.size(), " values, but images ",
                     "have ", facts.channels, " channels"));
  }
  if (side > 0) {
    // The network shows 28 x 28 pixels of one channel as 32 x 32.
    const int input = facts.channels == 1 && side == 28 ? 32 : side;
    const auto check = [&](const NetworkSpec& network,
                           const std::string& field) {
      if (input >> network.depth >= 1) return absl::OkStatus();
      return InvalidField(field, absl::StrCat("a depth of ", network.depth,
                                              " halves images of ", side,
                                              " pixels to nothing: use less"));
    };
    DASM_RETURN_IF_ERROR(check(spec.network, "network.depth"));
    for (size_t i = 0; i < spec.evaluation.networks.size(); ++i) {
      DASM_RETURN_IF_ERROR(check(spec.evaluation.networks[i],
                                 absl::StrCat("evaluation.networks[", i, "]")));
    }
    constexpr int kSmallestTile = 4;
    const int factor = spec.synthesis.factor;
    if (factor > 1 && side / factor < kSmallestTile) {
      return InvalidField(
          "synthesis.factor",
          absl::StrCat(factor, " x ", factor, " tiles do not fit an image of ",
                       side, " pixels: a tile needs at least ", kSmallestTile,
                       ", so use at most ", side / kSmallestTile));
    }
  }
  if (spec.synthetic_set.has_value()) return absl::OkStatus();
  if (facts.smallest_class > 0) {
    if (spec.images_per_class > facts.smallest_class) {
      return InvalidField(
          "images_per_class",
          absl::StrCat(spec.images_per_class, " is above the ",
                       facts.smallest_class,
                       " training images of the smallest class"));
    }
    if (spec.matching.real_batch > facts.smallest_class) {
      return InvalidField(
          "matching.gradient.real_batch",
          absl::StrCat(spec.matching.real_batch, " is above the ",
                       facts.smallest_class,
                       " training images of the smallest class"));
    }
  }
  // Where class sizes are not known yet, the mean bounds the smallest.
  if (facts.smallest_class == 0 && facts.classes > 0 &&
      facts.train_images > 0 &&
      spec.images_per_class > facts.train_images / facts.classes) {
    return InvalidField(
        "images_per_class",
        absl::StrCat(spec.images_per_class,
                     " is above the class size: ", facts.train_images,
                     " training images in ", facts.classes, " classes"));
  }
  if (facts.train_images > 0 && spec.matching.net_batch > facts.train_images) {
    return InvalidField("matching.gradient.net_batch",
                        absl::StrCat(spec.matching.net_batch, " is above the ",
                                     facts.train_images, " training images"));
  }
  return absl::OkStatus();
}

}  // namespace dasm
