#include "common/spec/spec_reader.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/spec/known_dataset.h"
#include "common/spec/nearest.h"
#include "common/spec/spec_enums.h"

namespace dasm {
namespace {

bool IsHex64(std::string_view text) {
  return text.size() == 64 &&
         text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

}  // namespace

DatasetSpec ReadDataset(const v1::DatasetSpec& from, Recipe recipe,
                        FieldReader* reader) {
  DatasetSpec to;
  const int given = from.has_name() + from.has_idx() + from.has_cifar_binary() +
                    from.has_image_folder();
  if (given != 1) {
    reader->Refuse("dataset",
                   given == 0 ? "is required: a name (fashion-mnist), idx, "
                                "cifar_binary or image_folder"
                              : "give only one of name, idx, cifar_binary and "
                                "image_folder");
    return to;
  }
  to.name = "custom";
  if (from.has_name()) {
    const KnownDataset* known = FindKnownDataset(from.name());
    if (known == nullptr) {
      std::vector<std::string> names;
      for (const auto& dataset : KnownDatasets()) names.push_back(dataset.name);
      reader->Refuse("dataset.name",
                     absl::StrCat("there is no data set \"", from.name(),
                                  "\" (known are ", absl::StrJoin(names, ", "),
                                  "; else name files by idx, cifar_binary or "
                                  "image_folder)",
                                  DidYouMean(from.name(), names)));
      return to;
    }
    to.name = known->name;
    to.format = known->format;
    to.classes = known->classes;
    to.label_bytes = known->label_bytes;
    const bool dc = recipe == Recipe::kDc && !known->dc_mean.empty();
    to.mean = dc ? known->dc_mean : known->mean;
    to.std = dc ? known->dc_std : known->std;
  } else if (from.has_idx()) {
    to.format = DatasetSpec::Format::kIdx;
    const v1::IdxFiles& idx = from.idx();
    const auto add = [&](const char* role, bool set, const std::string& path) {
      to.files[role] =
          reader->Path(absl::StrCat("dataset.idx.", role), set, path);
    };
    add("train_images", idx.has_train_images(), idx.train_images());
    add("train_labels", idx.has_train_labels(), idx.train_labels());
    add("test_images", idx.has_test_images(), idx.test_images());
    add("test_labels", idx.has_test_labels(), idx.test_labels());
  } else if (from.has_cifar_binary()) {
    to.format = DatasetSpec::Format::kCifarBinary;
    const v1::CifarBinaryFiles& cifar = from.cifar_binary();
    const auto add = [&](const std::string& role, const auto& paths) {
      const std::string field = "dataset.cifar_binary." + role;
      if (paths.empty() || paths.size() > 1000) {
        reader->Refuse(field, "needs 1 to 1000 files");
      }
      for (int i = 0; i < paths.size(); ++i) {
        to.files[absl::StrCat(role, ".", i)] =
            reader->Path(absl::StrCat(field, "[", i, "]"), true, paths[i]);
      }
    };
    add("train", cifar.train());
    add("test", cifar.test());
    to.label_bytes =
        reader->Within("dataset.cifar_binary.label_bytes",
                       cifar.has_label_bytes() ? cifar.label_bytes() : 1, 1, 2);
    to.classes =
        reader->Within("dataset.cifar_binary.classes",
                       cifar.has_classes() ? cifar.classes()
                                           : (to.label_bytes == 1 ? 10 : 100),
                       2, 256);
  } else {
    to.format = DatasetSpec::Format::kImageFolder;
    const v1::ImageFolder& folder = from.image_folder();
    to.files["train"] = reader->Path("dataset.image_folder.train",
                                     folder.has_train(), folder.train());
    to.files["test"] = reader->Path("dataset.image_folder.test",
                                    folder.has_test(), folder.test());
    if (!folder.has_size()) {
      reader->Refuse("dataset.image_folder.size",
                     "is required: the side in pixels that pictures are "
                     "resized to, e.g. 32");
    }
    to.image_size =
        reader->Within("dataset.image_folder.size",
                       folder.has_size() ? folder.size() : 32, 8, 256);
    to.channels = folder.has_channels() ? folder.channels() : 3;
    if (to.channels != 1 && to.channels != 3) {
      reader->Refuse("dataset.image_folder.channels",
                     absl::StrCat(to.channels, " is neither 1 nor 3"));
    }
  }
  if (from.mean_size() > 0) {
    to.mean.clear();
    for (const float m : from.mean()) {
      to.mean.push_back(reader->Number("dataset.mean", m, -10, 10));
    }
  }
  if (from.std_size() > 0) {
    to.std.clear();
    for (const float s : from.std()) {
      to.std.push_back(reader->Positive("dataset.std", s, 10));
    }
  }
  if (to.mean.size() != to.std.size()) {
    reader->Refuse(
        "dataset.std",
        absl::StrCat("has ", to.std.size(), " values, dataset.mean ",
                     to.mean.size(), ": give both, one value a channel"));
  }
  to.preprocessing = FromProto(from.preprocessing());
  to.validation =
      reader->Number("dataset.validation", from.validation(), 0, 0.5);
  return to;
}

GradientMatchingSpec ReadMatching(const v1::GradientMatching& from,
                                  bool later_segments, FieldReader* reader) {
  const auto path = [](const char* name) {
    return absl::StrCat("matching.gradient.", name);
  };
  constexpr int kMany = 10'000'000;
  constexpr int kMaxBatch = 4096;
  GradientMatchingSpec to;
  switch (from.distance()) {
    case v1::GradientMatching::DISTANCE_L1:
      to.distance = Distance::kL1;
      break;
    case v1::GradientMatching::DISTANCE_COSINE:
      to.distance = Distance::kCosine;
      break;
    default:
      to.distance = Distance::kMse;
  }
  switch (from.layers()) {
    case v1::GradientMatching::LAYERS_WEIGHTS:
      to.layers = Layers::kWeights;
      break;
    case v1::GradientMatching::LAYERS_ALL:
      to.layers = Layers::kAll;
      break;
    default:
      to.layers = Layers::kConvolutions;
  }
  to.inits = reader->Within(path("inits"), from.inits(), 1, kMany);
  to.later_inits =
      reader->Within(path("later_inits"), from.later_inits(), 1, kMany);
  to.steps_per_init =
      reader->Within(path("steps_per_init"), from.steps_per_init(), 1, kMany);
  const int64_t steps =
      int64_t{std::max(to.inits, to.later_inits)} * to.steps_per_init;
  if (steps > std::numeric_limits<int32_t>::max()) {
    reader->Refuse(path("steps_per_init"),
                   absl::StrCat("makes ", steps, " steps a segment, above ",
                                std::numeric_limits<int32_t>::max()));
  }
  to.real_batch =
      reader->Within(path("real_batch"), from.real_batch(), 1, kMaxBatch);
  to.synthetic_batch = reader->Within(path("synthetic_batch"),
                                      from.synthetic_batch(), 1, kMaxBatch);
  to.image_learning_rate = reader->Positive(path("image_learning_rate"),
                                            from.image_learning_rate(), 1e6);
  to.scale_learning_rate = from.scale_learning_rate();
  to.base_size = reader->Within(path("base_size"), from.base_size(), 1, 1024);
  to.image_momentum =
      reader->BelowOne(path("image_momentum"), from.image_momentum());
  to.augmentation =
      reader->Augmentations(path("augmentation"), from.augmentation());
  to.net_steps = reader->Within(path("net_steps"), from.net_steps(), 0, kMany);
  to.net_batch =
      reader->Within(path("net_batch"), from.net_batch(), 1, kMaxBatch);
  to.net_learning_rate =
      reader->Positive(path("net_learning_rate"), from.net_learning_rate(), 10);
  to.net_momentum = reader->BelowOne(path("net_momentum"), from.net_momentum());
  to.net_weight_decay =
      reader->Number(path("net_weight_decay"), from.net_weight_decay(), 0, 1);
  to.net_augmentation =
      reader->Augmentations(path("net_augmentation"), from.net_augmentation());
  to.net_cutmix = reader->Number(path("net_cutmix"), from.net_cutmix(), 0, 1);
  to.inits_per_step =
      reader->Within(path("inits_per_step"), from.inits_per_step(), 1, 1024);
  const auto check_multiple = [&](const char* name, int inits) {
    const int group = std::max(to.inits_per_step, 1);
    if (inits % group == 0) return;
    const int below = inits - inits % group;
    reader->Refuse(
        path(name),
        absl::StrCat(inits, " is not a multiple of inits_per_step (", group,
                     "): use ", below > 0 ? absl::StrCat(below, " or ") : "",
                     below + group));
  };
  check_multiple("inits", to.inits);
  if (later_segments) check_multiple("later_inits", to.later_inits);
  return to;
}

ExecutionSpec ReadExecution(const v1::ExecutionSpec& from, Norm norm,
                            FieldReader* reader) {
  ExecutionSpec to;
  to.train_group =
      reader->Within("execution.train_group", from.train_group(), 1, 4096);
  to.forward_group =
      reader->Within("execution.forward_group", from.forward_group(), 1, 4096);
  switch (from.precision()) {
    case v1::ExecutionSpec::PRECISION_TF32:
      to.precision = "tf32";
      break;
    case v1::ExecutionSpec::PRECISION_BF16:
      to.precision = "bf16";
      break;
    default:
      to.precision = "fp32";
  }
  to.reduction = from.reduction() == v1::ExecutionSpec::REDUCTION_FAST
                     ? ReductionOrder::kFast
                     : ReductionOrder::kOrdered;
  to.micro_batch =
      reader->Within("execution.micro_batch", from.micro_batch(), 0, 4096);
  if (to.micro_batch > 0 && norm == Norm::kBatch) {
    reader->Refuse(
        "execution.micro_batch",
        "must be 0 with network.norm batch, which couples the images "
        "of a batch: use 0, or network.norm instance");
  }
  return to;
}

ResourceSpec ReadResources(const v1::ResourceSpec& from,
                           const ExecutionSpec& execution, bool distils,
                           FieldReader* reader) {
  ResourceSpec to;
  to.ranks = reader->Within("resources.ranks", from.ranks(), 1, 256);
  to.priority =
      reader->Within("resources.priority", from.priority(), -1000, 1000);
  to.checkpoint_interval = reader->Number(
      "resources.checkpoint_interval", from.checkpoint_interval(), 0.1, 86400);
  to.checkpoint_steps = reader->Within(
      "resources.checkpoint_steps", from.checkpoint_steps(), 0, 1'000'000'000);
  to.min_ranks = from.min_ranks();
  if (to.min_ranks < 1 || to.min_ranks > to.ranks) {
    reader->Refuse("resources.min_ranks",
                   absl::StrCat(to.min_ranks, " is outside 1 to ", to.ranks,
                                ", the value of resources.ranks"));
  }
  if (execution.reduction == ReductionOrder::kFast &&
      to.min_ranks != to.ranks) {
    reader->Refuse(
        "resources.min_ranks",
        absl::StrCat(to.min_ranks, " ranks would give other bits than ",
                     to.ranks, " with execution.reduction fast: use ", to.ranks,
                     ", or reduction ordered"));
  }
  to.regroup_wait =
      reader->Number("resources.regroup_wait", from.regroup_wait(), 0, 86400);
  to.exchange = from.exchange() == v1::ResourceSpec::EXCHANGE_DEFERRED
                    ? Exchange::kDeferred
                    : Exchange::kEveryStep;
  if (to.exchange == Exchange::kDeferred && !distils) {
    reader->Refuse(
        "resources.exchange",
        "deferred has no meaning beside synthetic_set, where nothing "
        "is matched: use every_step");
  }
  if (to.exchange == Exchange::kDeferred && execution.micro_batch > 0) {
    reader->Refuse("resources.exchange",
                   "deferred keeps a class on one rank, but "
                   "execution.micro_batch spreads it over several: use "
                   "every_step, or micro_batch 0");
  }
  to.on_oom = from.on_oom() == v1::ResourceSpec::ON_OOM_REPLAN ? OnOom::kReplan
                                                               : OnOom::kFail;
  to.trainer_rank = from.trainer_rank();
  return to;
}

void CheckTrainerRank(const JobSpec& spec, FieldReader* reader) {
  if (!spec.resources.trainer_rank) return;
  const auto refuse = [reader](std::string_view why) {
    reader->Refuse("resources.trainer_rank", std::string(why));
  };
  if (spec.synthetic_set.has_value()) {
    refuse(
        "true has no meaning beside synthetic_set, where nothing is matched: "
        "use false");
  } else if (spec.trajectory.has_value()) {
    refuse(
        "true needs networks that are trained between the steps of matching, "
        "which matching.trajectory has none of: use false");
  } else if (spec.matching.net_steps == 0 ||
             spec.matching.steps_per_init == 1) {
    refuse(absl::StrCat(
        "true needs networks that are trained between the steps of matching, "
        "but ",
        spec.matching.net_steps == 0 ? "matching.gradient.net_steps is 0"
                                     : "matching.gradient.steps_per_init is 1",
        ": use false, or more steps"));
  }
  if (spec.resources.ranks < 2) {
    refuse(
        "true leaves nobody to match with resources.ranks 1: use ranks 2 or "
        "more, or false");
  }
}

SyntheticSetSpec ReadSet(const v1::SyntheticSetSpec& from,
                         FieldReader* reader) {
  SyntheticSetSpec to;
  if (from.has_npz() + from.has_npy() + from.has_digest() != 1) {
    reader->Refuse("synthetic_set", "give exactly one of npz, npy and digest");
    return to;
  }
  to.space = from.space() == v1::SyntheticSetSpec::SPACE_NORMALIZED
                 ? PixelSpace::kNormalized
                 : PixelSpace::kPixel;
  if (from.has_npz()) {
    to.files["npz"] = reader->Path("synthetic_set.npz", true, from.npz());
  } else if (from.has_npy()) {
    to.files["images"] =
        reader->Path("synthetic_set.npy.images", from.npy().has_images(),
                     from.npy().images());
    to.files["labels"] =
        reader->Path("synthetic_set.npy.labels", from.npy().has_labels(),
                     from.npy().labels());
  } else {
    const std::string_view digest = from.digest();
    constexpr std::string_view kPrefix = "sha256:";
    const std::string_view hex =
        digest.starts_with(kPrefix) ? digest.substr(kPrefix.size()) : digest;
    if (!IsHex64(hex)) {
      reader->Refuse("synthetic_set.digest",
                     "is not a SHA-256: write sha256: and 64 lower-case hex "
                     "digits");
    }
    to.digest = absl::StrCat("sha256:", std::string(hex));
    if (to.space == PixelSpace::kNormalized) {
      reader->Refuse("synthetic_set.space",
                     "sets held by this service are in pixel space: leave it "
                     "out");
    }
  }
  return to;
}

}  // namespace dasm
