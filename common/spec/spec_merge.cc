#include "common/spec/spec_merge.h"

#include <cmath>
#include <memory>
#include <string_view>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "common/spec/field_path.h"
#include "google/protobuf/descriptor.h"

namespace dasm {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

bool IsSet(const Message& message, const FieldDescriptor& field) {
  const Reflection& reflection = *message.GetReflection();
  return field.is_repeated() ? reflection.FieldSize(message, &field) > 0
                             : reflection.HasField(message, &field);
}

// Fields that say the same thing in different ways: one that is given displaces
// those of the layers below.
struct Alternatives {
  std::string_view message;
  std::vector<std::string_view> fields;
};

const std::vector<Alternatives>& AllAlternatives() {
  static const auto* const kAll = new std::vector<Alternatives>{
      {"SequenceSpec", {"one_segment", "dasm", "seqmatch"}},
      {"MatchingSpec", {"gradient", "trajectory"}},
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
      EraseOrigins(JoinPath(path, field->name()), origins);
    }
  }
}

}  // namespace

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
    const int count =
        field->is_repeated() ? reflection.FieldSize(message, field) : 1;
    for (int i = 0; i < count; ++i) {
      std::string name = JoinPath(path, field->name());
      if (field->is_repeated() && !field->is_map() &&
          field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
        absl::StrAppend(&name, "[", i, "]");
      }
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

void Overlay(const Message& layer, const std::string& origin,
             const std::string& path, Message* target, Origins* origins) {
  ClearDisplaced(layer, path, target, origins);
  std::vector<const FieldDescriptor*> fields;
  layer.GetReflection()->ListFields(layer, &fields);
  for (const FieldDescriptor* field : fields) {
    const std::string name = JoinPath(path, field->name());
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

void MarkDerived(const Message& message, const std::string& path,
                 Origins* origins) {
  std::vector<const FieldDescriptor*> fields;
  message.GetReflection()->ListFields(message, &fields);
  for (const FieldDescriptor* field : fields) {
    const std::string name = JoinPath(path, field->name());
    if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE &&
        !field->is_repeated() && field->message_type()->field_count() > 0) {
      MarkDerived(message.GetReflection()->GetMessage(message, field), name,
                  origins);
    } else {
      origins->emplace(name, "derived");
    }
  }
}

}  // namespace dasm
