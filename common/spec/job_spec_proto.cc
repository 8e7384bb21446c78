#include "common/spec/job_spec_proto.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>
#include <optional>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "common/spec/known_dataset.h"
#include "common/spec/nearest.h"
#include "common/spec/preset.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/message.h"

namespace dasm {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;
using Origins = std::map<std::string, std::string>;

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

bool IsSet(const Message& message, const FieldDescriptor& field) {
  const Reflection& reflection = *message.GetReflection();
  return field.is_repeated() ? reflection.FieldSize(message, &field) > 0
                             : reflection.HasField(message, &field);
}

// Refuses what this release does not know (a newer client's fields), and
// numbers that are none.
absl::Status CheckKnown(const Message& message, const std::string& path) {
  const Reflection& reflection = *message.GetReflection();
  const auto& unknown = reflection.GetUnknownFields(message);
  if (!unknown.empty()) {
    return InvalidField(
        path.empty() ? "spec" : path,
        absl::StrCat("has an unknown field with number ",
                     unknown.field(0).number(),
                     ": the client is newer than the server; leave the field "
                     "out or update the server"));
  }
  std::vector<const FieldDescriptor*> fields;
  reflection.ListFields(message, &fields);
  for (const FieldDescriptor* field : fields) {
    const std::string name = Join(path, field->name());
    const int count =
        field->is_repeated() ? reflection.FieldSize(message, field) : 1;
    for (int i = 0; i < count; ++i) {
      switch (field->cpp_type()) {
        case FieldDescriptor::CPPTYPE_MESSAGE:
          DASM_RETURN_IF_ERROR(
              CheckKnown(field->is_repeated()
                             ? reflection.GetRepeatedMessage(message, field, i)
                             : reflection.GetMessage(message, field),
                         name));
          break;
        case FieldDescriptor::CPPTYPE_ENUM: {
          const int value =
              field->is_repeated()
                  ? reflection.GetRepeatedEnumValue(message, field, i)
                  : reflection.GetEnumValue(message, field);
          if (value == 0) {
            return InvalidField(name,
                                "is unspecified: give a value or leave the "
                                "field out");
          }
          if (field->enum_type()->FindValueByNumber(value) == nullptr) {
            return InvalidField(
                name, absl::StrCat("has the unknown value ", value,
                                   ": the client is newer than the server"));
          }
          break;
        }
        case FieldDescriptor::CPPTYPE_FLOAT: {
          const float value =
              field->is_repeated()
                  ? reflection.GetRepeatedFloat(message, field, i)
                  : reflection.GetFloat(message, field);
          if (!std::isfinite(value)) {
            return InvalidField(name, "is not a finite number");
          }
          break;
        }
        case FieldDescriptor::CPPTYPE_INT32:
        case FieldDescriptor::CPPTYPE_INT64:
        case FieldDescriptor::CPPTYPE_UINT32:
        case FieldDescriptor::CPPTYPE_UINT64:
        case FieldDescriptor::CPPTYPE_DOUBLE:
        case FieldDescriptor::CPPTYPE_BOOL:
        case FieldDescriptor::CPPTYPE_STRING:
          break;
      }
    }
  }
  return absl::OkStatus();
}

// Fields that say the same thing in different ways: one that is given displaces
// those of the layers below.
struct Alternatives {
  std::string_view message;
  std::vector<std::string_view> fields;
};

const std::vector<Alternatives>& AllAlternatives() {
  static const auto* const kAll = new std::vector<Alternatives>{
      {"SequenceSpec", {"one_segment", "dasm"}},
      {"DatasetSpec", {"name", "idx", "cifar_binary", "image_folder"}},
      {"SyntheticSetSpec", {"npz", "npy", "digest"}},
      {"EvaluationSpec", {"epochs", "steps"}},
  };
  return *kAll;
}

void EraseOrigins(const std::string& path, Origins* origins) {
  std::erase_if(*origins, [&](const auto& item) {
    return item.first == path || item.first.starts_with(path + ".");
  });
}

void ClearDisplaced(const Message& layer, const std::string& path,
                    Message* target, Origins* origins) {
  const auto& type = *layer.GetDescriptor();
  for (const Alternatives& group : AllAlternatives()) {
    if (type.name() != group.message) continue;
    bool given = false;
    for (const std::string_view name : group.fields) {
      given |= IsSet(layer, *type.FindFieldByName(std::string(name)));
    }
    if (!given) continue;
    for (const std::string_view name : group.fields) {
      const auto* field = type.FindFieldByName(std::string(name));
      // A message that stays is merged field by field.
      if (IsSet(layer, *field)) continue;
      target->GetReflection()->ClearField(target, field);
      EraseOrigins(Join(path, field->name()), origins);
    }
  }
}

// What of `below` the alternatives of `layer` displace goes, at every level.
void Displace(const Message& layer, Message* below) {
  Origins unused;
  ClearDisplaced(layer, "", below, &unused);
  std::vector<const FieldDescriptor*> fields;
  layer.GetReflection()->ListFields(layer, &fields);
  for (const FieldDescriptor* field : fields) {
    if (field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE ||
        field->is_repeated() || !IsSet(*below, *field)) {
      continue;
    }
    Displace(layer.GetReflection()->GetMessage(layer, field),
             below->GetReflection()->MutableMessage(below, field));
  }
}

// Puts the set fields of `layer` over `target`. Lists and maps replace.
void Overlay(const Message& layer, const std::string& origin,
             const std::string& path, Message* target, Origins* origins) {
  ClearDisplaced(layer, path, target, origins);
  std::vector<const FieldDescriptor*> fields;
  layer.GetReflection()->ListFields(layer, &fields);
  for (const FieldDescriptor* field : fields) {
    const std::string name = Join(path, field->name());
    if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE &&
        !field->is_repeated()) {
      const Message& inner = layer.GetReflection()->GetMessage(layer, field);
      Message* below = target->GetReflection()->MutableMessage(target, field);
      if (field->message_type()->field_count() == 0) {
        (*origins)[name] = origin;
      }
      Overlay(inner, origin, name, below, origins);
      continue;
    }
    // One field of `layer` alone, so that MergeFrom copies nothing else.
    target->GetReflection()->ClearField(target, field);
    std::unique_ptr<Message> alone(layer.New());
    alone->CopyFrom(layer);
    for (const FieldDescriptor* other : fields) {
      if (other != field)
        alone->GetReflection()->ClearField(alone.get(), other);
    }
    target->MergeFrom(*alone);
    (*origins)[name] = origin;
  }
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

v1::NetworkSpec::Norm ToProto(Norm value) {
  switch (value) {
    case Norm::kNone:
      return v1::NetworkSpec::NORM_NONE;
    case Norm::kInstance:
      return v1::NetworkSpec::NORM_INSTANCE;
    case Norm::kBatch:
      return v1::NetworkSpec::NORM_BATCH;
  }
  return v1::NetworkSpec::NORM_UNSPECIFIED;
}

// Reads a merged proto; the first thing that is wrong is remembered.
class Reader {
 public:
  const absl::Status& status() const { return status_; }

  void Refuse(const std::string& field, const std::string& what) {
    if (status_.ok()) status_ = InvalidField(field, what);
  }

  template <typename T>
  T Within(const std::string& field, T value, T low, T high) {
    if (value < low || value > high) {
      Refuse(field, absl::StrCat(value, " is outside ", low, " to ", high));
    }
    return value;
  }
  // A float of the proto as the decimal that was written.
  double Number(const std::string& field, float value, double low,
                double high) {
    return Within(field, Decimal(value), low, high);
  }
  double Positive(const std::string& field, float value, double high) {
    const double number = Decimal(value);
    if (!(number > 0 && number <= high)) {
      Refuse(field, absl::StrCat(number, " is outside 0 (excluded) to ", high));
    }
    return number;
  }
  double BelowOne(const std::string& field, float value) {
    const double number = Decimal(value);
    if (!(number >= 0 && number < 1)) {
      Refuse(field, absl::StrCat(number, " is outside 0 to 1 (excluded)"));
    }
    return number;
  }
  std::string Text(const std::string& field, const std::string& value,
                   size_t longest) {
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
  std::string Path(const std::string& field, bool set,
                   const std::string& value) {
    if (!set || value.empty()) {
      Refuse(field, "is required: a path below a --data folder");
    }
    return Text(field, value, 4096);
  }
  // Sorted, since the order has no effect on what is computed.
  std::vector<Augmentation> Augmentations(
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

 private:
  absl::Status status_;
};

DatasetSpec ReadDataset(const v1::DatasetSpec& from, Recipe recipe,
                        Reader* reader) {
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

void CheckNetwork(const NetworkSpec& network, const std::string& field,
                  Reader* reader) {
  if (network.name != "convnet") {
    reader->Refuse(Join(field, "name"),
                   absl::StrCat("there is no network \"", network.name,
                                "\"; known is convnet"));
  }
  reader->Within(Join(field, "depth"), network.depth, 1, 8);
  reader->Within(Join(field, "width"), network.width, 1, 1024);
}

NetworkSpec ReadNetwork(const v1::NetworkSpec& from, Reader* reader) {
  NetworkSpec to;
  to.name = from.name();
  to.depth = from.depth();
  to.width = from.width();
  to.norm = FromProto(from.norm());
  CheckNetwork(to, "network", reader);
  return to;
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

GradientMatchingSpec ReadMatching(const v1::GradientMatching& from,
                                  Reader* reader) {
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
  return to;
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

SequenceSpec ReadSequence(const v1::SequenceSpec& from, int images_per_class,
                          Reader* reader) {
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
                              Reader* reader) {
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

bool IsHex64(std::string_view text) {
  return text.size() == 64 &&
         text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

SyntheticSetSpec ReadSet(const v1::SyntheticSetSpec& from, Reader* reader) {
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

v1::Augmentation ToProto(Augmentation value) {
  switch (value) {
    case Augmentation::kColor:
      return v1::AUGMENTATION_COLOR;
    case Augmentation::kCrop:
      return v1::AUGMENTATION_CROP;
    case Augmentation::kCutout:
      return v1::AUGMENTATION_CUTOUT;
    case Augmentation::kFlip:
      return v1::AUGMENTATION_FLIP;
    case Augmentation::kScale:
      return v1::AUGMENTATION_SCALE;
    case Augmentation::kRotate:
      return v1::AUGMENTATION_ROTATE;
  }
  return v1::AUGMENTATION_UNSPECIFIED;
}

void WriteAugmentations(const std::vector<Augmentation>& from,
                        google::protobuf::RepeatedField<int>* to) {
  for (const Augmentation value : from) to->Add(ToProto(value));
  if (from.empty()) to->Add(v1::AUGMENTATION_NONE);
}

void WriteDataset(const DatasetSpec& from, v1::DatasetSpec* to) {
  const auto file = [&](const char* role) -> const std::string& {
    return from.files.at(role);
  };
  if (from.name != "custom") {
    to->set_name(from.name);
  } else {
    switch (from.format) {
      case DatasetSpec::Format::kIdx: {
        v1::IdxFiles& idx = *to->mutable_idx();
        idx.set_train_images(file("train_images"));
        idx.set_train_labels(file("train_labels"));
        idx.set_test_images(file("test_images"));
        idx.set_test_labels(file("test_labels"));
        break;
      }
      case DatasetSpec::Format::kCifarBinary: {
        v1::CifarBinaryFiles& cifar = *to->mutable_cifar_binary();
        // By number, not by the map's order of texts.
        for (size_t i = 0; i < from.files.size(); ++i) {
          const auto train = from.files.find(absl::StrCat("train.", i));
          if (train != from.files.end()) cifar.add_train(train->second);
          const auto test = from.files.find(absl::StrCat("test.", i));
          if (test != from.files.end()) cifar.add_test(test->second);
        }
        cifar.set_label_bytes(from.label_bytes);
        cifar.set_classes(from.classes);
        break;
      }
      case DatasetSpec::Format::kImageFolder: {
        v1::ImageFolder& folder = *to->mutable_image_folder();
        folder.set_train(file("train"));
        folder.set_test(file("test"));
        folder.set_size(from.image_size);
        folder.set_channels(from.channels);
        break;
      }
      case DatasetSpec::Format::kSvhnMat:
        break;  // only by name
    }
  }
  for (const double m : from.mean) to->add_mean(static_cast<float>(m));
  for (const double s : from.std) to->add_std(static_cast<float>(s));
}

void WriteMatching(const GradientMatchingSpec& from, v1::GradientMatching* to) {
  switch (from.distance) {
    case Distance::kL1:
      to->set_distance(v1::GradientMatching::DISTANCE_L1);
      break;
    case Distance::kMse:
      to->set_distance(v1::GradientMatching::DISTANCE_MSE);
      break;
    case Distance::kCosine:
      to->set_distance(v1::GradientMatching::DISTANCE_COSINE);
      break;
  }
  switch (from.layers) {
    case Layers::kConvolutions:
      to->set_layers(v1::GradientMatching::LAYERS_CONVOLUTIONS);
      break;
    case Layers::kWeights:
      to->set_layers(v1::GradientMatching::LAYERS_WEIGHTS);
      break;
    case Layers::kAll:
      to->set_layers(v1::GradientMatching::LAYERS_ALL);
      break;
  }
  to->set_inits(from.inits);
  to->set_later_inits(from.later_inits);
  to->set_steps_per_init(from.steps_per_init);
  to->set_real_batch(from.real_batch);
  to->set_synthetic_batch(from.synthetic_batch);
  to->set_image_learning_rate(static_cast<float>(from.image_learning_rate));
  to->set_scale_learning_rate(from.scale_learning_rate);
  to->set_base_size(from.base_size);
  to->set_image_momentum(static_cast<float>(from.image_momentum));
  WriteAugmentations(from.augmentation, to->mutable_augmentation());
  to->set_net_steps(from.net_steps);
  to->set_net_batch(from.net_batch);
  to->set_net_learning_rate(static_cast<float>(from.net_learning_rate));
  to->set_net_momentum(static_cast<float>(from.net_momentum));
  to->set_net_weight_decay(static_cast<float>(from.net_weight_decay));
  WriteAugmentations(from.net_augmentation, to->mutable_net_augmentation());
  to->set_net_cutmix(static_cast<float>(from.net_cutmix));
}

void WriteDasm(const SequenceSpec& from, v1::Dasm* to) {
  to->mutable_segments()->Add(from.segments.begin(), from.segments.end());
  switch (from.pool) {
    case PoolRule::kAll:
      to->set_pool(v1::Dasm::POOL_ALL);
      break;
    case PoolRule::kMisclassified:
      to->set_pool(v1::Dasm::POOL_MISCLASSIFIED);
      break;
    case PoolRule::kLossQuantile:
      to->set_pool(v1::Dasm::POOL_LOSS_QUANTILE);
      break;
    case PoolRule::kEl2n:
      to->set_pool(v1::Dasm::POOL_EL2N);
      break;
    case PoolRule::kWeighted:
      to->set_pool(v1::Dasm::POOL_WEIGHTED);
      break;
  }
  to->set_mix(static_cast<float>(from.mix));
  to->set_trim(static_cast<float>(from.trim));
  to->set_discriminators(from.discriminators);
  to->set_discriminator_epochs(from.discriminator_epochs);
  to->set_discriminator_steps(from.discriminator_steps);
  to->set_quantile_floor(static_cast<float>(from.quantile_floor));
  to->set_el2n_threshold(static_cast<float>(from.el2n_threshold));
  to->set_weight_floor(static_cast<float>(from.weight_floor));
  to->set_weight_power(static_cast<float>(from.weight_power));
  to->set_reference_steps(from.reference_steps);
}

void WriteEvaluation(const EvaluationSpec& from, v1::EvaluationSpec* to) {
  to->set_recipe(from.training.recipe == Recipe::kDc
                     ? v1::EvaluationSpec::RECIPE_DC
                     : v1::EvaluationSpec::RECIPE_IDC);
  for (const NetworkSpec& network : from.networks) {
    to->add_networks(network.ToString());
  }
  to->set_repeats(from.repeats);
  to->set_epochs(from.epochs);
  to->set_steps(from.training.steps);
  to->set_batch(from.training.batch);
  to->set_learning_rate(static_cast<float>(from.training.learning_rate));
  to->set_momentum(static_cast<float>(from.training.momentum));
  to->set_weight_decay(static_cast<float>(from.training.weight_decay));
  WriteAugmentations(from.training.augmentation, to->mutable_augmentation());
  to->set_cutmix(static_cast<float>(from.training.cutmix));
  for (const Baseline baseline : from.baselines) {
    switch (baseline) {
      case Baseline::kRandom:
        to->add_baselines(v1::EvaluationSpec::BASELINE_RANDOM);
        break;
      case Baseline::kTiles:
        to->add_baselines(v1::EvaluationSpec::BASELINE_TILES);
        break;
      case Baseline::kStart:
        to->add_baselines(v1::EvaluationSpec::BASELINE_START);
        break;
    }
  }
  if (from.baselines.empty()) {
    to->add_baselines(v1::EvaluationSpec::BASELINE_NONE);
  }
  to->set_prefixes(from.prefixes);
  to->set_seed(from.seed);
}

// Every field of what was not in the layers below is "derived".
void MarkDerived(const Message& message, const std::string& path,
                 Origins* origins) {
  std::vector<const FieldDescriptor*> fields;
  message.GetReflection()->ListFields(message, &fields);
  for (const FieldDescriptor* field : fields) {
    const std::string name = Join(path, field->name());
    if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE &&
        !field->is_repeated() && field->message_type()->field_count() > 0) {
      MarkDerived(message.GetReflection()->GetMessage(message, field), name,
                  origins);
    } else {
      origins->emplace(name, "derived");
    }
  }
}

}  // namespace

v1::JobSpec ToProto(const JobSpec& spec) {
  v1::JobSpec proto;
  proto.set_name(spec.name);
  WriteDataset(spec.dataset, proto.mutable_dataset());
  v1::NetworkSpec& network = *proto.mutable_network();
  network.set_name(spec.network.name);
  network.set_depth(spec.network.depth);
  network.set_width(spec.network.width);
  network.set_norm(ToProto(spec.network.norm));
  proto.mutable_synthesis()->set_factor(spec.synthesis.factor);
  if (spec.synthetic_set.has_value()) {
    const SyntheticSetSpec& from = *spec.synthetic_set;
    v1::SyntheticSetSpec& to = *proto.mutable_synthetic_set();
    if (!from.digest.empty()) {
      to.set_digest(from.digest);
    } else if (from.files.contains("npz")) {
      to.set_npz(from.files.at("npz"));
    } else {
      to.mutable_npy()->set_images(from.files.at("images"));
      to.mutable_npy()->set_labels(from.files.at("labels"));
    }
    to.set_space(from.space == PixelSpace::kNormalized
                     ? v1::SyntheticSetSpec::SPACE_NORMALIZED
                     : v1::SyntheticSetSpec::SPACE_PIXEL);
  } else {
    proto.set_images_per_class(spec.images_per_class);
    WriteMatching(spec.matching, proto.mutable_matching()->mutable_gradient());
    proto.mutable_synthesis()->set_init(spec.synthesis.init == Init::kNoise
                                            ? v1::SynthesisSpec::INIT_NOISE
                                            : v1::SynthesisSpec::INIT_REAL);
    if (spec.sequence.segments.size() > 1) {
      WriteDasm(spec.sequence, proto.mutable_sequence()->mutable_dasm());
    } else {
      proto.mutable_sequence()->mutable_one_segment();
    }
  }
  WriteEvaluation(spec.evaluation, proto.mutable_evaluation());
  v1::ExecutionSpec& execution = *proto.mutable_execution();
  execution.set_train_group(spec.execution.train_group);
  execution.set_forward_group(spec.execution.forward_group);
  execution.set_precision(v1::ExecutionSpec::PRECISION_FP32);
  v1::ResourceSpec& resources = *proto.mutable_resources();
  resources.set_ranks(spec.resources.ranks);
  resources.set_priority(spec.resources.priority);
  resources.set_checkpoint_interval(
      static_cast<float>(spec.resources.checkpoint_interval));
  proto.set_seed(spec.seed);
  for (const auto& [key, value] : spec.labels) {
    (*proto.mutable_labels())[key] = value;
  }
  proto.set_salt(spec.salt);
  return proto;
}

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

  Reader reader;
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
    spec.matching = ReadMatching(merged.matching().gradient(), &reader);
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
  spec.execution.train_group = reader.Within(
      "execution.train_group", merged.execution().train_group(), 1, 4096);
  spec.execution.forward_group = reader.Within(
      "execution.forward_group", merged.execution().forward_group(), 1, 4096);
  spec.resources.ranks =
      reader.Within("resources.ranks", merged.resources().ranks(), 1, 256);
  spec.resources.priority = reader.Within(
      "resources.priority", merged.resources().priority(), -1000, 1000);
  spec.resources.checkpoint_interval =
      reader.Number("resources.checkpoint_interval",
                    merged.resources().checkpoint_interval(), 0.1, 86400);
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
