#include "common/spec/yaml.h"

#include <charconv>
#include <cmath>
#include <cstdint>
#include <limits>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "common/spec/field_path.h"
#include "common/spec/nearest.h"
#include "common/spec/yaml_tree.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/message.h"

namespace dasm {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::EnumDescriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

std::string At(const YamlNode& node) {
  return node.line > 0 ? absl::StrCat("line ", node.line, ": ") : "";
}

absl::Status Refuse(const YamlNode& node, const std::string& path,
                    const std::string& what) {
  return InvalidField(path.empty() ? "spec" : path, At(node) + what);
}

bool IsImplicitBoolean(const std::string& text) {
  const std::string lower = absl::AsciiStrToLower(text);
  return lower == "yes" || lower == "no" || lower == "on" || lower == "off" ||
         lower == "true" || lower == "false";
}

bool IsNullWord(const std::string& text) {
  return text == "~" || absl::EqualsIgnoreCase(text, "null");
}

bool LooksInteger(std::string_view text) {
  if (!text.empty() && (text[0] == '-' || text[0] == '+')) {
    text.remove_prefix(1);
  }
  if (text.empty()) return false;
  for (char c : text) {
    if (!absl::ascii_isdigit(c)) return false;
  }
  return true;
}

// A finite or overflowing decimal number, or YAML's .inf and .nan.
bool LooksNumber(const std::string& text, double* value) {
  std::string lower = absl::AsciiStrToLower(text);
  if (!lower.empty() && (lower[0] == '+' || lower[0] == '-')) {
    lower = lower.substr(1);
  }
  if (lower == ".inf" || lower == ".nan" || lower == "inf" ||
      lower == "infinity" || lower == "nan") {
    *value = std::numeric_limits<double>::infinity();
    return true;
  }
  if (lower.empty() || !(absl::ascii_isdigit(lower[0]) || lower[0] == '.')) {
    return false;
  }
  double magnitude = 0;
  const char* const end = lower.data() + lower.size();
  const auto [stop, error] = std::from_chars(lower.data(), end, magnitude);
  if (stop != end || error == std::errc::invalid_argument) return false;
  if (error == std::errc::result_out_of_range) {
    // Too small is as good as zero; too large is not a number we can keep.
    const size_t exponent = lower.find("e-");
    magnitude = exponent == std::string::npos
                    ? std::numeric_limits<double>::infinity()
                    : 0.0;
  }
  *value = text[0] == '-' ? -magnitude : magnitude;
  return true;
}

// "DISTANCE_L1" of enum Distance is "l1".
std::string ShortEnumName(const EnumDescriptor& type,
                          const std::string& value) {
  // The zero value is <PREFIX>_UNSPECIFIED, by proto style.
  const std::string& zero = type.FindValueByNumber(0)->name();
  const size_t prefix = zero.size() - std::string("UNSPECIFIED").size();
  return absl::AsciiStrToLower(value.substr(prefix));
}

class Converter {
 public:
  // Fields that `node` names replace those of `message`; others stay.
  static absl::Status Fill(const YamlNode& node, const std::string& path,
                           Message* message) {
    if (node.kind != YamlNode::Kind::kMapping) {
      return Refuse(node, path,
                    absl::StrCat("must be a mapping (name: value)",
                                 node.kind == YamlNode::Kind::kNull
                                     ? "; write {} for an empty one"
                                     : ""));
    }
    const Descriptor& type = *message->GetDescriptor();
    std::map<std::string, int> seen;
    for (size_t i = 0; i + 1 < node.items.size(); i += 2) {
      const YamlNode& key = node.items[i];
      DASM_RETURN_IF_ERROR(CheckKey(key, path, &seen));
      const FieldDescriptor* field = type.FindFieldByName(key.text);
      if (field == nullptr) return UnknownField(key, path, type);
      DASM_RETURN_IF_ERROR(FillField(
          node.items[i + 1], JoinPath(path, key.text), *field, message));
    }
    return absl::OkStatus();
  }

  static absl::Status FillField(const YamlNode& node, const std::string& path,
                                const FieldDescriptor& field,
                                Message* message) {
    const Reflection& reflection = *message->GetReflection();
    if (node.kind == YamlNode::Kind::kNull ||
        (node.kind == YamlNode::Kind::kScalar && !node.quoted &&
         IsNullWord(node.text))) {
      return Refuse(node, path,
                    "has no value: give one or leave the field out");
    }
    if (field.is_map()) return FillMap(node, path, field, message);
    if (field.is_repeated()) {
      if (node.kind != YamlNode::Kind::kSequence) {
        return Refuse(node, path, "must be a list: write [a, b]");
      }
      reflection.ClearField(message, &field);
      for (size_t i = 0; i < node.items.size(); ++i) {
        const std::string at = absl::StrCat(path, "[", i, "]");
        DASM_RETURN_IF_ERROR(
            field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE
                ? Fill(node.items[i], at,
                       reflection.AddMessage(message, &field))
                : FillValue(node.items[i], at, field, message));
      }
      return absl::OkStatus();
    }
    if (field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
      return Fill(node, path, reflection.MutableMessage(message, &field));
    }
    return FillValue(node, path, field, message);
  }

 private:
  // `seen`: the keys so far and their lines.
  static absl::Status CheckKey(const YamlNode& key, const std::string& path,
                               std::map<std::string, int>* seen) {
    if (key.kind != YamlNode::Kind::kScalar) {
      return Refuse(key, path, "a key must be a plain name");
    }
    const auto [first, fresh] = seen->emplace(key.text, key.line);
    if (fresh) return absl::OkStatus();
    return Refuse(key, JoinPath(path, key.text),
                  absl::StrCat("is given twice, first in line ", first->second,
                               ": remove one"));
  }

  static absl::Status UnknownField(const YamlNode& key, const std::string& path,
                                   const Descriptor& type) {
    std::vector<std::string> names;
    for (int i = 0; i < type.field_count(); ++i) {
      names.push_back(type.field(i)->name());
    }
    return Refuse(key, JoinPath(path, key.text),
                  absl::StrCat("unknown field", DidYouMean(key.text, names)));
  }

  static absl::Status FillMap(const YamlNode& node, const std::string& path,
                              const FieldDescriptor& field, Message* message) {
    if (node.kind != YamlNode::Kind::kMapping) {
      return Refuse(node, path, "must be a mapping (name: value)");
    }
    const Reflection& reflection = *message->GetReflection();
    reflection.ClearField(message, &field);
    const Descriptor& entry = *field.message_type();
    std::map<std::string, int> seen;
    for (size_t i = 0; i + 1 < node.items.size(); i += 2) {
      const YamlNode& key = node.items[i];
      DASM_RETURN_IF_ERROR(CheckKey(key, path, &seen));
      Message* added = reflection.AddMessage(message, &field);
      DASM_RETURN_IF_ERROR(
          FillField(key, JoinPath(path, key.text), *entry.map_key(), added));
      DASM_RETURN_IF_ERROR(FillField(node.items[i + 1],
                                     JoinPath(path, key.text),
                                     *entry.map_value(), added));
    }
    return absl::OkStatus();
  }

  // Sets a scalar field, or adds to a list of scalars.
  static absl::Status FillValue(const YamlNode& node, const std::string& path,
                                const FieldDescriptor& field,
                                Message* message) {
    if (node.kind != YamlNode::Kind::kScalar) {
      return Refuse(node, path,
                    absl::StrCat("must be ", TypeInWords(field), ", not a ",
                                 node.kind == YamlNode::Kind::kSequence ? "list"
                                 : node.kind == YamlNode::Kind::kMapping
                                     ? "mapping"
                                     : "missing value"));
    }
    const Reflection& reflection = *message->GetReflection();
    const bool add = field.is_repeated();
    switch (field.cpp_type()) {
      case FieldDescriptor::CPPTYPE_STRING: {
        DASM_RETURN_IF_ERROR(CheckString(node, path));
        add ? reflection.AddString(message, &field, node.text)
            : reflection.SetString(message, &field, node.text);
        return absl::OkStatus();
      }
      case FieldDescriptor::CPPTYPE_BOOL: {
        if (node.quoted || (node.text != "true" && node.text != "false")) {
          return Mistyped(node, path, field);
        }
        add ? reflection.AddBool(message, &field, node.text == "true")
            : reflection.SetBool(message, &field, node.text == "true");
        return absl::OkStatus();
      }
      case FieldDescriptor::CPPTYPE_INT32: {
        int32_t value = 0;
        DASM_RETURN_IF_ERROR(ReadInteger(node, path, field, &value));
        add ? reflection.AddInt32(message, &field, value)
            : reflection.SetInt32(message, &field, value);
        return absl::OkStatus();
      }
      case FieldDescriptor::CPPTYPE_UINT64: {
        uint64_t value = 0;
        DASM_RETURN_IF_ERROR(ReadInteger(node, path, field, &value));
        add ? reflection.AddUInt64(message, &field, value)
            : reflection.SetUInt64(message, &field, value);
        return absl::OkStatus();
      }
      case FieldDescriptor::CPPTYPE_FLOAT: {
        double value = 0;
        if (node.quoted || !LooksNumber(node.text, &value)) {
          return Mistyped(node, path, field);
        }
        if (!std::isfinite(value) ||
            std::abs(value) > std::numeric_limits<float>::max()) {
          return Refuse(node, path,
                        absl::StrCat(node.text, " is not a finite number"));
        }
        add ? reflection.AddFloat(message, &field, static_cast<float>(value))
            : reflection.SetFloat(message, &field, static_cast<float>(value));
        return absl::OkStatus();
      }
      case FieldDescriptor::CPPTYPE_ENUM: {
        return FillEnum(node, path, field, message);
      }
      case FieldDescriptor::CPPTYPE_INT64:
      case FieldDescriptor::CPPTYPE_UINT32:
      case FieldDescriptor::CPPTYPE_DOUBLE:
      case FieldDescriptor::CPPTYPE_MESSAGE:
        break;
    }
    // JobSpec has no field of these types; a test over its descriptor guards
    // it.
    return Refuse(node, path, "has a type that job files cannot hold");
  }

  static absl::Status FillEnum(const YamlNode& node, const std::string& path,
                               const FieldDescriptor& field, Message* message) {
    const EnumDescriptor& type = *field.enum_type();
    std::vector<std::string> names;
    for (int i = 0; i < type.value_count(); ++i) {
      const auto& value = *type.value(i);
      if (value.number() == 0) continue;
      names.push_back(ShortEnumName(type, value.name()));
      if (names.back() != node.text) continue;
      const Reflection& reflection = *message->GetReflection();
      field.is_repeated() ? reflection.AddEnum(message, &field, &value)
                          : reflection.SetEnum(message, &field, &value);
      return absl::OkStatus();
    }
    return Refuse(
        node, path,
        absl::StrCat("\"", node.text, "\" is none of ",
                     absl::StrJoin(names, ", "), DidYouMean(node.text, names)));
  }

  template <typename T>
  static absl::Status ReadInteger(const YamlNode& node, const std::string& path,
                                  const FieldDescriptor& field, T* value) {
    double number = 0;
    if (node.quoted || !LooksNumber(node.text, &number)) {
      return Mistyped(node, path, field);
    }
    std::string_view digits = node.text;
    if (!LooksInteger(digits)) {
      return Refuse(node, path,
                    absl::StrCat(node.text,
                                 " is not a whole number: write it "
                                 "without fraction or exponent"));
    }
    if (digits[0] == '+') digits.remove_prefix(1);
    const size_t first = digits[0] == '-' ? 1 : 0;
    if (digits.size() > first + 1 && digits[first] == '0') {
      return Refuse(node, path,
                    absl::StrCat(node.text,
                                 " has leading zeros, which some "
                                 "read as octal: remove them"));
    }
    const auto [stop, error] =
        std::from_chars(digits.data(), digits.data() + digits.size(), *value);
    if (error != std::errc() || stop != digits.data() + digits.size()) {
      return Refuse(
          node, path,
          absl::StrCat(node.text, " is outside ", std::numeric_limits<T>::min(),
                       " to ", std::numeric_limits<T>::max()));
    }
    return absl::OkStatus();
  }

  static absl::Status CheckString(const YamlNode& node,
                                  const std::string& path) {
    double number = 0;
    if (node.quoted) return absl::OkStatus();
    if (IsImplicitBoolean(node.text) || LooksNumber(node.text, &number)) {
      return Refuse(node, path,
                    absl::StrCat("must be text; if you mean the text ",
                                 node.text, ", put it in quotes"));
    }
    return absl::OkStatus();
  }

  static absl::Status Mistyped(const YamlNode& node, const std::string& path,
                               const FieldDescriptor& field) {
    return Refuse(
        node, path,
        absl::StrCat("must be ", TypeInWords(field), ", not ",
                     node.quoted ? absl::StrCat("the text \"", node.text, "\"")
                                 : node.text));
  }

  static std::string TypeInWords(const FieldDescriptor& field) {
    switch (field.cpp_type()) {
      case FieldDescriptor::CPPTYPE_STRING:
        return "text";
      case FieldDescriptor::CPPTYPE_BOOL:
        return "true or false";
      case FieldDescriptor::CPPTYPE_FLOAT:
      case FieldDescriptor::CPPTYPE_DOUBLE:
        return "a number";
      case FieldDescriptor::CPPTYPE_ENUM:
        return "one name";
      case FieldDescriptor::CPPTYPE_MESSAGE:
        return "a mapping";
      case FieldDescriptor::CPPTYPE_INT32:
      case FieldDescriptor::CPPTYPE_INT64:
      case FieldDescriptor::CPPTYPE_UINT32:
      case FieldDescriptor::CPPTYPE_UINT64:
        return "a whole number";
    }
    return "a value";
  }
};

// Text as a YAML scalar that is read back as the same text.
std::string Quote(const std::string& text) {
  return nlohmann::json(text).dump();
}

std::string FloatText(float value) {
  char buffer[32];
  const auto [end, error] =
      std::to_chars(buffer, buffer + sizeof(buffer), value);
  return std::string(buffer, end);
}

// The field's value, or its `index`-th if repeated, as a scalar.
std::string ScalarText(const Message& message, const FieldDescriptor& field,
                       int index) {
  const Reflection& reflection = *message.GetReflection();
  const bool repeated = field.is_repeated();
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_STRING:
      return Quote(repeated
                       ? reflection.GetRepeatedString(message, &field, index)
                       : reflection.GetString(message, &field));
    case FieldDescriptor::CPPTYPE_BOOL:
      return (repeated ? reflection.GetRepeatedBool(message, &field, index)
                       : reflection.GetBool(message, &field))
                 ? "true"
                 : "false";
    case FieldDescriptor::CPPTYPE_INT32:
      return absl::StrCat(
          repeated ? reflection.GetRepeatedInt32(message, &field, index)
                   : reflection.GetInt32(message, &field));
    case FieldDescriptor::CPPTYPE_UINT64:
      return absl::StrCat(
          repeated ? reflection.GetRepeatedUInt64(message, &field, index)
                   : reflection.GetUInt64(message, &field));
    case FieldDescriptor::CPPTYPE_FLOAT:
      return FloatText(repeated
                           ? reflection.GetRepeatedFloat(message, &field, index)
                           : reflection.GetFloat(message, &field));
    case FieldDescriptor::CPPTYPE_ENUM: {
      const auto* value =
          repeated ? reflection.GetRepeatedEnum(message, &field, index)
                   : reflection.GetEnum(message, &field);
      return Quote(ShortEnumName(*field.enum_type(), value->name()));
    }
    case FieldDescriptor::CPPTYPE_INT64:
    case FieldDescriptor::CPPTYPE_UINT32:
    case FieldDescriptor::CPPTYPE_DOUBLE:
    case FieldDescriptor::CPPTYPE_MESSAGE:
      break;
  }
  return "";
}

std::vector<const FieldDescriptor*> SetFields(const Message& message) {
  std::vector<const FieldDescriptor*> fields;
  const Descriptor& type = *message.GetDescriptor();
  for (int i = 0; i < type.field_count(); ++i) {
    const FieldDescriptor* field = type.field(i);
    const Reflection& reflection = *message.GetReflection();
    if (field->is_repeated() ? reflection.FieldSize(message, field) > 0
                             : reflection.HasField(message, field)) {
      fields.push_back(field);
    }
  }
  return fields;
}

}  // namespace

nlohmann::ordered_json ToJson(const Message& message) {
  const Reflection& reflection = *message.GetReflection();
  auto result = nlohmann::ordered_json::object();
  for (const FieldDescriptor* field : SetFields(message)) {
    auto& member = result[field->name()];
    if (field->is_map()) {
      // Sorted by nlohmann::json: a map field has no order of its own.
      nlohmann::json sorted = nlohmann::json::object();
      for (int i = 0; i < reflection.FieldSize(message, field); ++i) {
        const Message& entry = reflection.GetRepeatedMessage(message, field, i);
        const Reflection& inner = *entry.GetReflection();
        const Descriptor& type = *field->message_type();
        sorted[inner.GetString(entry, type.map_key())] =
            inner.GetString(entry, type.map_value());
      }
      member = nlohmann::ordered_json(sorted);
    } else if (field->is_repeated()) {
      member = nlohmann::ordered_json::array();
      for (int i = 0; i < reflection.FieldSize(message, field); ++i) {
        member.push_back(
            field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE
                ? ToJson(reflection.GetRepeatedMessage(message, field, i))
                : nlohmann::ordered_json::parse(
                      ScalarText(message, *field, i)));
      }
    } else if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
      member = ToJson(reflection.GetMessage(message, field));
    } else {
      member = nlohmann::ordered_json::parse(ScalarText(message, *field, 0));
    }
  }
  return result;
}

namespace {

// A word that YAML cannot take for anything else goes without quotes.
std::string PlainOrQuoted(const std::string& text) {
  double number = 0;
  bool plain = !text.empty() && absl::ascii_isalpha(text[0]) &&
               !IsImplicitBoolean(text) && !IsNullWord(text) &&
               !LooksNumber(text, &number);
  for (char c : text) {
    plain = plain && (absl::ascii_isalnum(c) || c == '-' || c == '_' ||
                      c == '.' || c == '/');
  }
  return plain ? text : Quote(text);
}

// A value in one line; a mapping holds no mappings.
std::string FlowText(const nlohmann::ordered_json& value) {
  if (value.is_object() && !value.empty()) {
    std::vector<std::string> members;
    for (const auto& [name, member] : value.items()) {
      members.push_back(
          absl::StrCat(PlainOrQuoted(name), ": ", FlowText(member)));
    }
    return absl::StrCat("{", absl::StrJoin(members, ", "), "}");
  }
  return value.is_string() ? PlainOrQuoted(value.get<std::string>())
                           : value.dump();
}

void AppendBlock(const nlohmann::ordered_json& object, int indent,
                 std::string* out) {
  for (const auto& [name, value] : object.items()) {
    absl::StrAppend(out, std::string(indent, ' '), PlainOrQuoted(name), ":");
    if (value.is_object() && !value.empty()) {
      absl::StrAppend(out, "\n");
      AppendBlock(value, indent + 2, out);
    } else if (value.is_array() && !value.empty() && value[0].is_object()) {
      absl::StrAppend(out, "\n");
      for (const auto& item : value) {
        absl::StrAppend(out, std::string(indent, ' '), "- ", FlowText(item),
                        "\n");
      }
    } else if (value.is_array()) {
      absl::StrAppend(
          out, " [",
          absl::StrJoin(value.begin(), value.end(), ", ",
                        [](std::string* o, const nlohmann::ordered_json& v) {
                          absl::StrAppend(o, FlowText(v));
                        }),
          "]\n");
    } else {
      absl::StrAppend(out, " ", FlowText(value), "\n");
    }
  }
}

}  // namespace

absl::StatusOr<v1::JobSpec> ParseJobFile(std::string_view text) {
  DASM_ASSIGN_OR_RETURN(const YamlNode root, ReadYamlTree(text));
  if (root.kind == YamlNode::Kind::kNull) {
    return InvalidField("spec", "the job file is empty");
  }
  v1::JobSpec spec;
  DASM_RETURN_IF_ERROR(Converter::Fill(root, "", &spec));
  return spec;
}

absl::Status ApplySetting(std::string_view assignment, v1::JobSpec* spec) {
  const size_t equals = assignment.find('=');
  if (equals == std::string_view::npos || equals == 0) {
    return InvalidField("set", absl::StrCat("\"", std::string(assignment),
                                            "\" is not of the form "
                                            "FIELD=VALUE"));
  }
  const std::string path(assignment.substr(0, equals));
  auto value = ReadYamlTree(assignment.substr(equals + 1));
  if (!value.ok())
    return InvalidField(path, std::string(value.status().message()));
  // The value wrapped in one mapping a path element, so that a setting and a
  // file go through the same checks.
  YamlNode node = *std::move(value);
  size_t end = path.size();
  while (true) {
    const size_t dot = end == 0 ? std::string::npos : path.rfind('.', end - 1);
    const size_t begin = dot == std::string::npos ? 0 : dot + 1;
    YamlNode wrapped{.kind = YamlNode::Kind::kMapping};
    wrapped.items.push_back(YamlNode{.kind = YamlNode::Kind::kScalar,
                                     .text = path.substr(begin, end - begin)});
    wrapped.items.push_back(std::move(node));
    node = std::move(wrapped);
    if (dot == std::string::npos) break;
    end = dot;
  }
  v1::JobSpec changed = *spec;
  DASM_RETURN_IF_ERROR(Converter::Fill(node, "", &changed));
  *spec = std::move(changed);
  return absl::OkStatus();
}

std::string ToYaml(const v1::JobSpec& spec) {
  std::string out;
  AppendBlock(ToJson(spec), 0, &out);
  return out;
}

}  // namespace dasm
