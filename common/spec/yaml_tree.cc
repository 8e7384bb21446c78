#include "common/spec/yaml_tree.h"

#include <cstdint>
#include <exception>
#include <sstream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/error.h"
#include "yaml-cpp/eventhandler.h"
#include "yaml-cpp/exceptions.h"
#include "yaml-cpp/parser.h"

namespace dasm {
namespace {

constexpr size_t kMaxBytes = size_t{1} << 20;
constexpr size_t kMaxLevels = 32;

// yaml-cpp leaves its parser only by an exception; this one carries ours.
struct Stop : std::exception {
  explicit Stop(absl::Status s) : status(std::move(s)) {}
  absl::Status status;
};

// Builds the tree and refuses what a job file may not hold. Nodes come from
// events because YAML::Node hides duplicates, anchors and quoting.
class TreeBuilder final : public YAML::EventHandler {
 public:
  YamlNode Take() { return std::move(root_); }

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    RefuseAnchor(mark, anchor);
    Add(YamlNode{.kind = YamlNode::Kind::kNull, .line = mark.line + 1});
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    Fail(mark, "aliases (*name) are not allowed: write the value out");
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag,
                YAML::anchor_t anchor, const std::string& value) override {
    RefuseAnchor(mark, anchor);
    RefuseTag(mark, tag);
    // yaml-cpp tags a plain scalar "?" and a quoted or block one "!".
    Add(YamlNode{.kind = YamlNode::Kind::kScalar,
                 .line = mark.line + 1,
                 .text = value,
                 .quoted = tag == "!"});
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag,
                       YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    Open(mark, tag, anchor, YamlNode::Kind::kSequence);
  }
  void OnSequenceEnd() override { Close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag,
                  YAML::anchor_t anchor, YAML::EmitterStyle::value) override {
    Open(mark, tag, anchor, YamlNode::Kind::kMapping);
  }
  void OnMapEnd() override { Close(); }

 private:
  [[noreturn]] static void Fail(const YAML::Mark& mark,
                                const std::string& what) {
    throw Stop(
        InvalidField("spec", absl::StrCat("line ", mark.line + 1, ": ", what)));
  }
  static void RefuseAnchor(const YAML::Mark& mark, YAML::anchor_t anchor) {
    if (anchor != YAML::NullAnchor) {
      Fail(mark, "anchors (&name) are not allowed: write the value out");
    }
  }
  static void RefuseTag(const YAML::Mark& mark, const std::string& tag) {
    if (!tag.empty() && tag != "?" && tag != "!") {
      Fail(mark, absl::StrCat("the tag ", tag,
                              " is not allowed: the type follows from the "
                              "field"));
    }
  }
  void Open(const YAML::Mark& mark, const std::string& tag,
            YAML::anchor_t anchor, YamlNode::Kind kind) {
    RefuseAnchor(mark, anchor);
    RefuseTag(mark, tag);
    if (open_.size() >= kMaxLevels) {
      Fail(mark, absl::StrCat("more than ", kMaxLevels, " levels"));
    }
    open_.push_back(YamlNode{.kind = kind, .line = mark.line + 1});
  }
  void Close() {
    YamlNode node = std::move(open_.back());
    open_.pop_back();
    Add(std::move(node));
  }
  void Add(YamlNode node) {
    if (open_.empty()) {
      root_ = std::move(node);
    } else {
      open_.back().items.push_back(std::move(node));
    }
  }

  std::vector<YamlNode> open_;
  YamlNode root_;
};

// Well-formed UTF-8 without NUL (RFC 3629).
bool IsUtf8(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i]);
    if (lead == 0) return false;
    int more = 0;
    uint32_t code = lead;
    if (lead >= 0xF0) {
      more = 3;
      code = lead & 0x07;
    } else if (lead >= 0xE0) {
      more = 2;
      code = lead & 0x0F;
    } else if (lead >= 0xC0) {
      more = 1;
      code = lead & 0x1F;
    } else if (lead >= 0x80) {
      return false;
    }
    if (lead >= 0xF8 || i + more >= text.size()) return false;
    for (int k = 1; k <= more; ++k) {
      const auto next = static_cast<unsigned char>(text[i + k]);
      if ((next & 0xC0) != 0x80) return false;
      code = code << 6 | (next & 0x3F);
    }
    constexpr uint32_t kFirst[] = {0, 0x80, 0x800, 0x10000};
    if (code < kFirst[more] || code > 0x10FFFF ||
        (code >= 0xD800 && code <= 0xDFFF)) {
      return false;
    }
    i += more + 1;
  }
  return true;
}

}  // namespace

absl::StatusOr<YamlNode> ReadYamlTree(std::string_view text) {
  if (text.size() > kMaxBytes) {
    return InvalidField("spec",
                        absl::StrCat("the job file has ", text.size(),
                                     " bytes, above the limit of 1 MiB"));
  }
  if (!IsUtf8(text)) {
    return InvalidField("spec", "the job file is not UTF-8 text");
  }
  try {
    std::istringstream stream{std::string(text)};
    YAML::Parser parser(stream);
    TreeBuilder builder;
    if (!parser.HandleNextDocument(builder)) {
      return InvalidField("spec", "the job file is empty");
    }
    TreeBuilder rest;
    if (parser.HandleNextDocument(rest)) {
      return InvalidField("spec",
                          "the job file holds more than one document (---): "
                          "submit them one by one");
    }
    return builder.Take();
  } catch (const Stop& stop) {
    return stop.status;
  } catch (const YAML::Exception& e) {
    return InvalidField("spec",
                        absl::StrCat("line ", e.mark.line + 1,
                                     ": not well-formed YAML: ", e.msg));
  } catch (const std::exception& e) {
    return InvalidField("spec", absl::StrCat("cannot be read: ", e.what()));
  }
}

}  // namespace dasm
