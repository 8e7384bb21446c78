#include "common/spec/spec_reader.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <optional>
#include <set>
#include <string_view>

#include "absl/strings/numbers.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "common/base/error.h"
#include "common/spec/known_dataset.h"
#include "common/spec/nearest.h"

namespace dasm {
namespace {

std::string Join(const std::string& path, const std::string& name) {
  return path.empty() ? name : path + "." + name;
}

// The decimal that was written: 0.1f is meant as 0.1, not 0.100000001.
double Decimal(float value) {
  char buffer[32];
  const auto [end, error] =
      std::to_chars(buffer, buffer + sizeof(buffer), value);
  double result = 0;
  std::from_chars(buffer, end, result);
  return result;
}

Augmentation FromProto(v1::Augmentation value) {
  switch (value) {
    case v1::AUGMENTATION_CROP:
      return Augmentation::kCrop;
    case v1::AUGMENTATION_CUTOUT:
      return Augmentation::kCutout;
    case v1::AUGMENTATION_FLIP:
      return Augmentation::kFlip;
    case v1::AUGMENTATION_SCALE:
      return Augmentation::kScale;
    case v1::AUGMENTATION_ROTATE:
      return Augmentation::kRotate;
    default:
      // CheckKnown let only known values through; NONE is handled before.
      return Augmentation::kColor;
  }
}

Norm FromProto(v1::NetworkSpec::Norm value) {
  switch (value) {
    case v1::NetworkSpec::NORM_NONE:
      return Norm::kNone;
    case v1::NetworkSpec::NORM_BATCH:
      return Norm::kBatch;
    default:
      return Norm::kInstance;
  }
}

void CheckNetwork(const NetworkSpec& network, const std::string& field,
                  FieldReader* reader) {
  if (network.name != "convnet") {
    reader->Refuse(Join(field, "name"),
                   absl::StrCat("there is no network \"", network.name,
                                "\"; known is convnet"));
  }
  reader->Within(Join(field, "depth"), network.depth, 1, 8);
  reader->Within(Join(field, "width"), network.width, 1, 1024);
}

// "convnet-d3-w128-instance"; what is left out is taken from `job`.
std::optional<NetworkSpec> ParseNetwork(const std::string& text,
                                        const NetworkSpec& job) {
  const std::vector<std::string> parts = absl::StrSplit(text, '-');
  NetworkSpec network = job;
  network.name = parts[0];
  std::set<char> seen;
  for (size_t i = 1; i < parts.size(); ++i) {
    const std::string& part = parts[i];
    int number = 0;
    const bool numbered =
        part.size() > 1 &&
        part.find_first_not_of("0123456789", 1) == std::string::npos &&
        absl::SimpleAtoi(part.substr(1), &number);
    char what = 0;
    if (numbered && part[0] == 'd') {
      network.depth = number;
      what = 'd';
    } else if (numbered && part[0] == 'w') {
      network.width = number;
      what = 'w';
    } else {
      const nlohmann::json name = part;
      network.norm = name.get<Norm>();
      // An unknown name reads as the first value.
      if (nlohmann::json(network.norm) != name) return std::nullopt;
      what = 'n';
    }
    if (!seen.insert(what).second) return std::nullopt;
  }
  return network;
}

// Two halves up to 100, then segments of 50.
std::vector<int> DefaultSegments(int images_per_class) {
  if (images_per_class <= 1) return {images_per_class};
  if (images_per_class <= 100) {
    const int second = images_per_class / 2;
    return {images_per_class - second, second};
  }
  std::vector<int> segments(images_per_class / 50, 50);
  if (images_per_class % 50 > 0) segments.push_back(images_per_class % 50);
  return segments;
}

bool IsHex64(std::string_view text) {
  return text.size() == 64 &&
         text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

}  // namespace

void FieldReader::Refuse(const std::string& field, const std::string& what) {
  if (status_.ok()) status_ = InvalidField(field, what);
}

double FieldReader::Number(const std::string& field, float value, double low,
                           double high) {
  return Within(field, Decimal(value), low, high);
}

double FieldReader::Positive(const std::string& field, float value,
                             double high) {
  const double number = Decimal(value);
  if (!(number > 0 && number <= high)) {
    Refuse(field, absl::StrCat(number, " is outside 0 (excluded) to ", high));
  }
  return number;
}

double FieldReader::BelowOne(const std::string& field, float value) {
  const double number = Decimal(value);
  if (!(number >= 0 && number < 1)) {
    Refuse(field, absl::StrCat(number, " is outside 0 to 1 (excluded)"));
  }
  return number;
}

std::string FieldReader::Text(const std::string& field,
                              const std::string& value, size_t longest) {
  if (value.size() > longest) {
    Refuse(field,
           absl::StrCat("has ", value.size(), " bytes, above ", longest));
  }
  for (const char c : value) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      Refuse(field, "holds a control character");
      break;
    }
  }
  return value;
}

std::string FieldReader::Path(const std::string& field, bool set,
                              const std::string& value) {
  if (!set || value.empty()) {
    Refuse(field, "is required: a path below a --data folder");
  }
  return Text(field, value, 4096);
}

std::vector<Augmentation> FieldReader::Augmentations(
    const std::string& field,
    const google::protobuf::RepeatedField<int>& values) {
  std::vector<Augmentation> result;
  for (const int value : values) {
    if (value == v1::AUGMENTATION_NONE) {
      if (values.size() > 1) Refuse(field, "none must stand alone");
      return {};
    }
    result.push_back(FromProto(static_cast<v1::Augmentation>(value)));
  }
  std::sort(result.begin(), result.end());
  if (std::adjacent_find(result.begin(), result.end()) != result.end()) {
    Refuse(field, "names an augmentation twice: remove one");
  }
  return result;
}

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
  return to;
}

NetworkSpec ReadNetwork(const v1::NetworkSpec& from, FieldReader* reader) {
  NetworkSpec to;
  to.name = from.name();
  to.depth = from.depth();
  to.width = from.width();
  to.norm = FromProto(from.norm());
  CheckNetwork(to, "network", reader);
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

SequenceSpec ReadSequence(const v1::SequenceSpec& from, int images_per_class,
                          FieldReader* reader) {
  SequenceSpec to;
  if (from.has_one_segment() == from.has_dasm()) {
    reader->Refuse("sequence",
                   from.has_dasm()
                       ? "give only one of one_segment and dasm"
                       : "is required: dasm: {} or one_segment: {} (IDC), or "
                         "a preset");
    return to;
  }
  to.segments = {images_per_class};
  if (from.has_one_segment()) return to;
  const v1::Dasm& dasm = from.dasm();
  const auto path = [](const char* name) {
    return absl::StrCat("sequence.dasm.", name);
  };
  to.segments = DefaultSegments(images_per_class);
  if (dasm.segments_size() > 0) {
    to.segments.assign(dasm.segments().begin(), dasm.segments().end());
    int64_t sum = 0;
    for (const int size : to.segments) {
      if (size < 1) {
        reader->Refuse(path("segments"), "each segment needs at least 1 image");
      }
      sum += size;
    }
    if (sum != images_per_class) {
      reader->Refuse(
          path("segments"),
          absl::StrCat("[", absl::StrJoin(to.segments, ", "), "] sums to ", sum,
                       ", but images_per_class is ", images_per_class,
                       ": change one of them, or leave segments out for [",
                       absl::StrJoin(DefaultSegments(images_per_class), ", "),
                       "]"));
    }
  }
  if (to.segments.size() > 1000) {
    reader->Refuse(path("segments"), "more than 1000 segments");
  }
  switch (dasm.pool()) {
    case v1::Dasm::POOL_ALL:
      to.pool = PoolRule::kAll;
      break;
    case v1::Dasm::POOL_LOSS_QUANTILE:
      to.pool = PoolRule::kLossQuantile;
      break;
    case v1::Dasm::POOL_EL2N:
      to.pool = PoolRule::kEl2n;
      break;
    case v1::Dasm::POOL_WEIGHTED:
      to.pool = PoolRule::kWeighted;
      break;
    default:
      to.pool = PoolRule::kMisclassified;
  }
  to.mix = reader->Number(path("mix"), dasm.mix(), 0, 1);
  to.trim = reader->Number(path("trim"), dasm.trim(), 0, 0.5);
  to.discriminators =
      reader->Within(path("discriminators"), dasm.discriminators(), 1, 32);
  to.discriminator_epochs = reader->Within(
      path("discriminator_epochs"), dasm.discriminator_epochs(), 1, 100'000);
  to.discriminator_steps = reader->Within(
      path("discriminator_steps"), dasm.discriminator_steps(), 1, 100'000'000);
  to.quantile_floor =
      reader->Positive(path("quantile_floor"), dasm.quantile_floor(), 1);
  // EL2N lies in [0, sqrt 2].
  to.el2n_threshold =
      reader->Number(path("el2n_threshold"), dasm.el2n_threshold(), 0, 1.4142);
  to.weight_floor =
      reader->Number(path("weight_floor"), dasm.weight_floor(), 0, 1);
  to.weight_power =
      reader->Number(path("weight_power"), dasm.weight_power(), 0, 10);
  to.reference_steps = reader->Within(path("reference_steps"),
                                      dasm.reference_steps(), 0, 100'000'000);
  return to;
}

EvaluationSpec ReadEvaluation(const v1::EvaluationSpec& from,
                              const NetworkSpec& job, bool evaluate_only,
                              FieldReader* reader) {
  EvaluationSpec to;
  to.training.recipe = from.recipe() == v1::EvaluationSpec::RECIPE_DC
                           ? Recipe::kDc
                           : Recipe::kIdc;
  to.training.steps =
      reader->Within("evaluation.steps", from.steps(), 0, 100'000'000);
  to.training.batch = reader->Within("evaluation.batch", from.batch(), 1, 4096);
  to.training.learning_rate =
      reader->Positive("evaluation.learning_rate", from.learning_rate(), 10);
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
    const auto network = ParseNetwork(from.networks(i), job);
    if (!network.has_value()) {
      reader->Refuse(field, absl::StrCat("\"", from.networks(i),
                                         "\" is not a network: write convnet "
                                         "or e.g. convnet-d3-w128-instance"));
      continue;
    }
    CheckNetwork(*network, field, reader);
    if (std::find(to.networks.begin(), to.networks.end(), *network) !=
        to.networks.end()) {
      reader->Refuse(field, absl::StrCat(network->ToString(),
                                         " is listed twice: remove one"));
    }
    to.networks.push_back(*network);
  }
  for (const int value : from.baselines()) {
    switch (static_cast<v1::EvaluationSpec::Baseline>(value)) {
      case v1::EvaluationSpec::BASELINE_RANDOM:
        to.baselines.push_back(Baseline::kRandom);
        break;
      case v1::EvaluationSpec::BASELINE_TILES:
        to.baselines.push_back(Baseline::kTiles);
        break;
      case v1::EvaluationSpec::BASELINE_START:
        to.baselines.push_back(Baseline::kStart);
        break;
      default:
        if (from.baselines_size() > 1) {
          reader->Refuse("evaluation.baselines", "none must stand alone");
        }
    }
  }
  std::sort(to.baselines.begin(), to.baselines.end());
  if (std::adjacent_find(to.baselines.begin(), to.baselines.end()) !=
      to.baselines.end()) {
    reader->Refuse("evaluation.baselines",
                   "names a baseline twice: remove one");
  }
  if (evaluate_only && std::find(to.baselines.begin(), to.baselines.end(),
                                 Baseline::kStart) != to.baselines.end()) {
    reader->Refuse("evaluation.baselines",
                   "start is the beginning of a distillation, which an "
                   "existing set does not have: leave it out");
  }
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
  return to;
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
