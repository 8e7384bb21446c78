#include "common/spec/yaml.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "common/base/error.h"
#include "common/base/random_stream.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/util/message_differencer.h"

namespace dasm {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::util::MessageDifferencer;

constexpr char kJob[] = R"(# a job
name: fashion-dasm
preset: dasm-idc/fashion-mnist/ipc10
dataset:
  name: fashion-mnist
  mean: [0.25]
images_per_class: 10
network: {name: convnet, depth: 3, width: 128, norm: instance}
matching:
  gradient:
    distance: l1
    image_learning_rate: 1.0e-4
    scale_learning_rate: true
    augmentation: [color, crop]
synthesis: {factor: 2, init: real}
sequence: {dasm: {segments: [5, 5], pool: misclassified, mix: 0.5}}
evaluation:
  networks: [convnet, "convnet-d4-w64-batch"]
  baselines: [none]
labels: {owner: vision, "2": two}
seed: 18446744073709551615
)";

TEST(ParseJobFile, ReadsEveryKindOfValue) {
  const auto spec = ParseJobFile(kJob);
  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_EQ(spec->name(), "fashion-dasm");
  EXPECT_EQ(spec->dataset().mean(0), 0.25f);
  EXPECT_EQ(spec->network().norm(), v1::NetworkSpec::NORM_INSTANCE);
  const v1::GradientMatching& gradient = spec->matching().gradient();
  EXPECT_EQ(gradient.distance(), v1::GradientMatching::DISTANCE_L1);
  EXPECT_EQ(gradient.image_learning_rate(), 1e-4f);
  EXPECT_TRUE(gradient.scale_learning_rate());
  ASSERT_EQ(gradient.augmentation_size(), 2);
  EXPECT_EQ(gradient.augmentation(1), v1::AUGMENTATION_CROP);
  EXPECT_EQ(spec->sequence().dasm().segments(1), 5);
  EXPECT_EQ(spec->evaluation().networks(1), "convnet-d4-w64-batch");
  EXPECT_EQ(spec->labels().at("2"), "two");
  EXPECT_EQ(spec->seed(), 18446744073709551615u);
  EXPECT_FALSE(spec->has_salt());
}

TEST(ParseJobFile, AnEmptyMappingSetsItsMessage) {
  const auto spec = ParseJobFile("sequence: {one_segment: {}}");
  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_TRUE(spec->sequence().has_one_segment());
  EXPECT_FALSE(spec->sequence().has_dasm());
}

TEST(ParseJobFile, ReadsJson) {
  const auto spec = ParseJobFile(
      "{\n\t\"dataset\": {\"name\": \"mnist\"},\n\t\"synthesis\": "
      "{\"init\": \"noise\", \"factor\": 1},\n\t\"evaluation\": "
      "{\"prefixes\": false, \"cutmix\": 0.5}\n}\n");
  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_EQ(spec->synthesis().init(), v1::SynthesisSpec::INIT_NOISE);
  EXPECT_TRUE(spec->evaluation().has_prefixes());
  EXPECT_EQ(spec->evaluation().cutmix(), 0.5f);
}

struct RefusedText {
  const char* text;
  const char* field;
  const char* says;
};

TEST(ParseJobFile, ErrorsNameFieldLineAndRemedy) {
  const RefusedText cases[] = {
      {"name: a\nmatchin: {}", "matchin", "line 2: unknown field; did you"},
      {"matching: {gradient: {intis: 8}}", "matching.gradient.intis",
       "did you mean \"inits\"?"},
      {"selection: {rule: none}", "selection", "unknown field"},
      {"seed: 1\nname: a\nseed: 2", "seed", "line 3: is given twice, first in"},
      {"labels: {a: b, a: c}", "labels.a", "given twice"},
      {"name: &x a", "spec", "line 1: anchors"},
      {"name: a\nsalt: *x", "spec", "line 2"},
      {"seed: !!int 3", "spec", "tag"},
      {"name: !mine a", "spec", "tag"},
      {"evaluation: {prefixes: yes}", "evaluation.prefixes",
       "must be true or false, not yes"},
      {"evaluation: {prefixes: \"true\"}", "evaluation.prefixes",
       "not the text"},
      {"evaluation: {prefixes: True}", "evaluation.prefixes", "not True"},
      {"name: on", "name", "put it in quotes"},
      {"name: No", "name", "put it in quotes"},
      {"name: 12", "name", "put it in quotes"},
      {"name:", "name", "has no value"},
      {"name: ~", "name", "has no value"},
      {"name: null", "name", "has no value"},
      {"name: [a]", "name", "must be text, not a list"},
      {"images_per_class: 2.0", "images_per_class", "not a whole number"},
      {"images_per_class: 1e1", "images_per_class", "not a whole number"},
      {"images_per_class: \"10\"", "images_per_class", "a whole number"},
      {"images_per_class: ten", "images_per_class", "a whole number"},
      {"images_per_class: 010", "images_per_class", "leading zeros"},
      {"images_per_class: 0x10", "images_per_class", "a whole number"},
      {"images_per_class: 2147483648", "images_per_class", "is outside"},
      {"images_per_class: {}", "images_per_class", "not a mapping"},
      {"seed: -1", "seed", "is outside 0"},
      {"seed: 18446744073709551616", "seed", "is outside"},
      {"evaluation: {cutmix: .nan}", "evaluation.cutmix", "finite"},
      {"evaluation: {cutmix: -.inf}", "evaluation.cutmix", "finite"},
      {"evaluation: {cutmix: 1e39}", "evaluation.cutmix", "finite"},
      {"evaluation: {cutmix: 1e999}", "evaluation.cutmix", "finite"},
      {"evaluation: {cutmix: half}", "evaluation.cutmix", "a number"},
      {"synthesis: {init: reel}", "synthesis.init", "did you mean \"real\"?"},
      {"synthesis: {init: INIT_REAL}", "synthesis.init", "is none of"},
      {"synthesis: {init: unspecified}", "synthesis.init", "is none of"},
      {"synthesis: 2", "synthesis", "must be a mapping"},
      {"synthesis:", "synthesis", "has no value"},
      {"sequence: {dasm: {segments: 5}}", "sequence.dasm.segments",
       "must be a list"},
      {"sequence: {dasm: {segments: [5, x]}}", "sequence.dasm.segments[1]",
       "a whole number"},
      {"sequence: {dasm: {segments: [5, ]}}\nseed: x", "seed", "line 2"},
      {"labels: [a]", "labels", "must be a mapping"},
      {"labels: {a: 1}", "labels.a", "put it in quotes"},
      {"{[a]: b}", "spec", "plain name"},
      {"- name: a", "spec", "must be a mapping"},
      {"just words", "spec", "must be a mapping"},
      {"", "spec", "empty"},
      {"# nothing\n", "spec", "empty"},
      {"name: a\n---\nname: b\n", "spec", "more than one document"},
      {"name: a\n  b: c: d", "spec", "line 2"},
      {"name: [a", "spec", "not well-formed"},
      {"name: \"\xff\"", "spec", "not UTF-8"},
  };
  for (const RefusedText& c : cases) {
    const auto spec = ParseJobFile(c.text);
    ASSERT_EQ(spec.status().code(), absl::StatusCode::kInvalidArgument)
        << c.text;
    EXPECT_EQ(FieldOf(spec.status()), c.field) << c.text << spec.status();
    EXPECT_NE(std::string(spec.status().message()).find(c.says),
              std::string::npos)
        << c.text << "\ngave " << spec.status();
    EXPECT_EQ(ReasonOf(spec.status()), "INVALID_FIELD");
  }
}

TEST(ParseJobFile, ANulByteIsRefused) {
  EXPECT_FALSE(ParseJobFile(std::string_view("name: a\0b", 9)).ok());
}

TEST(ParseJobFile, AHugeFileIsRefusedBeforeItIsParsed) {
  std::string text = "name: a\n";
  text.append(10 << 20, '#');
  const auto spec = ParseJobFile(text);
  EXPECT_NE(std::string(spec.status().message()).find("1 MiB"),
            std::string::npos);
}

TEST(ParseJobFile, DeepNestingIsRefusedAtAnyDepth) {
  for (const int depth : {33, 400, 3000, 400000}) {
    for (const char* open : {"[", "{a: ", "- "}) {
      std::string text = "labels: ";
      if (open[0] == '-') text = "";
      for (int i = 0; i < depth && text.size() < (1 << 20) - 8; ++i) {
        text += open;
      }
      EXPECT_EQ(ParseJobFile(text).status().code(),
                absl::StatusCode::kInvalidArgument)
          << depth << open;
    }
  }
  // 32 levels are read, and refused for what they are.
  std::string text = "name: ";
  text += std::string(31, '[') + std::string(31, ']');
  EXPECT_EQ(FieldOf(ParseJobFile(text).status()), "name");
}

TEST(ParseJobFile, ManyKeysAreCheckedQuickly) {
  std::string text = "labels:\n";
  for (int i = 0; i < 60000; ++i) {
    text += "  a" + std::to_string(i) + ": b\n";
  }
  text += "  a0: c\n";
  EXPECT_EQ(FieldOf(ParseJobFile(text).status()), "labels.a0");
}

TEST(ParseJobFile, AQuotedWordIsTextAndNotABoolean) {
  const auto spec = ParseJobFile("name: 'yes'\nsalt: \"12\"");
  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_EQ(spec->name(), "yes");
  EXPECT_EQ(spec->salt(), "12");
}

// The converter handles these types only; a new one needs a case there.
TEST(ParseJobFile, JobSpecHoldsOnlyTypesThatAreConverted) {
  std::set<const google::protobuf::Descriptor*> seen;
  std::vector<const google::protobuf::Descriptor*> todo = {
      v1::JobSpec::descriptor()};
  while (!todo.empty()) {
    const auto* type = todo.back();
    todo.pop_back();
    if (!seen.insert(type).second) continue;
    for (int i = 0; i < type->field_count(); ++i) {
      const FieldDescriptor& field = *type->field(i);
      switch (field.cpp_type()) {
        case FieldDescriptor::CPPTYPE_MESSAGE:
          // A mapping in a list is written in one line, so it holds no other.
          if (field.is_repeated() && !field.is_map()) {
            for (int j = 0; j < field.message_type()->field_count(); ++j) {
              EXPECT_NE(field.message_type()->field(j)->cpp_type(),
                        FieldDescriptor::CPPTYPE_MESSAGE)
                  << field.message_type()->field(j)->full_name();
            }
          }
          todo.push_back(field.message_type());
          break;
        case FieldDescriptor::CPPTYPE_ENUM:
          EXPECT_TRUE(field.enum_type()->FindValueByNumber(0)->name().ends_with(
              "_UNSPECIFIED"))
              << field.full_name();
          break;
        case FieldDescriptor::CPPTYPE_STRING:
        case FieldDescriptor::CPPTYPE_BOOL:
        case FieldDescriptor::CPPTYPE_INT32:
        case FieldDescriptor::CPPTYPE_UINT64:
        case FieldDescriptor::CPPTYPE_FLOAT:
          break;
        default:
          ADD_FAILURE() << field.full_name() << " has type "
                        << field.cpp_type_name();
      }
    }
  }
}

TEST(ToYaml, IsReadBackAsTheSameMessage) {
  auto spec = ParseJobFile(kJob);
  ASSERT_TRUE(spec.ok()) << spec.status();
  spec->set_name("yes: # \"tricky\"\n\\ \xC3\xA9");
  spec->set_salt("no");
  (*spec->mutable_labels())["true"] = "1e5";
  (*spec->mutable_labels())[""] = "";
  spec->mutable_evaluation()->set_weight_decay(3e-45f);
  spec->mutable_evaluation()->set_learning_rate(0.1f);
  spec->mutable_sequence()->mutable_one_segment();
  const std::string yaml = ToYaml(*spec);
  const auto again = ParseJobFile(yaml);
  ASSERT_TRUE(again.ok()) << again.status() << "\n" << yaml;
  EXPECT_TRUE(MessageDifferencer::Equals(*spec, *again)) << yaml;
  EXPECT_EQ(ToYaml(*again), yaml);
}

TEST(ToYaml, WritesShortNumbersAndNames) {
  v1::JobSpec spec;
  spec.mutable_matching()->mutable_gradient()->set_net_learning_rate(0.01f);
  spec.mutable_matching()->mutable_gradient()->add_augmentation(
      v1::AUGMENTATION_COLOR);
  spec.mutable_sequence()->mutable_one_segment();
  EXPECT_EQ(ToYaml(spec),
            "matching:\n  gradient:\n    augmentation: [color]\n"
            "    net_learning_rate: 0.01\nsequence:\n  one_segment: {}\n");
}

constexpr char kStages[] =
    "sequence:\n  seqmatch:\n    segments: [2, 1]\n    stages:\n"
    "    - {iterations: 5, step_size: 0.001}\n    - {}\n";

TEST(ToYaml, AListOfMappingsHasOneALine) {
  const auto spec = ParseJobFile(kStages);
  ASSERT_TRUE(spec.ok()) << spec.status();
  ASSERT_EQ(spec->sequence().seqmatch().stages_size(), 2);
  EXPECT_EQ(spec->sequence().seqmatch().stages(0).iterations(), 5);
  EXPECT_FALSE(spec->sequence().seqmatch().stages(1).has_iterations());
  EXPECT_EQ(ToYaml(*spec), kStages);
  const auto json = ParseJobFile(ToJson(*spec).dump(2));
  ASSERT_TRUE(json.ok()) << json.status();
  EXPECT_TRUE(MessageDifferencer::Equals(*spec, *json));
}

TEST(ParseJobFile, AMistakeInAListOfMappingsIsNamedWhereItIs) {
  const auto spec =
      ParseJobFile("sequence: {dasm: {stages: [{}, {iterations: fast}]}}\n");
  EXPECT_EQ(FieldOf(spec.status()), "sequence.dasm.stages[1].iterations");
  EXPECT_EQ(
      FieldOf(
          ParseJobFile("sequence: {dasm: {stages: [{steps: 1}]}}").status()),
      "sequence.dasm.stages[0].steps");
  EXPECT_EQ(FieldOf(ParseJobFile("sequence: {dasm: {stages: [3]}}").status()),
            "sequence.dasm.stages[0]");
}

TEST(ToJson, IsAlsoAJobFile) {
  const auto spec = ParseJobFile(kJob);
  const auto again = ParseJobFile(ToJson(*spec).dump(2));
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_TRUE(MessageDifferencer::Equals(*spec, *again));
}

TEST(ApplySetting, ChangesOneFieldAndKeepsTheRest) {
  v1::JobSpec spec = *ParseJobFile(kJob);
  EXPECT_TRUE(ApplySetting("matching.gradient.inits=8", &spec).ok());
  EXPECT_TRUE(ApplySetting("sequence.dasm.segments=[1, 2,7]", &spec).ok());
  EXPECT_TRUE(ApplySetting("network={width: 32}", &spec).ok());
  EXPECT_TRUE(ApplySetting("synthesis.init=noise", &spec).ok());
  EXPECT_TRUE(ApplySetting("name=a=b", &spec).ok());
  EXPECT_TRUE(ApplySetting("sequence.one_segment={}", &spec).ok());
  EXPECT_EQ(spec.matching().gradient().inits(), 8);
  EXPECT_EQ(spec.matching().gradient().image_learning_rate(), 1e-4f);
  EXPECT_EQ(spec.sequence().dasm().segments_size(), 3);
  EXPECT_EQ(spec.network().width(), 32);
  EXPECT_EQ(spec.network().depth(), 3);
  EXPECT_EQ(spec.synthesis().init(), v1::SynthesisSpec::INIT_NOISE);
  EXPECT_EQ(spec.name(), "a=b");
}

TEST(ApplySetting, ABadOneNamesItsFieldAndChangesNothing) {
  const v1::JobSpec before = *ParseJobFile(kJob);
  const RefusedText cases[] = {
      {"seed", "set", "FIELD=VALUE"},
      {"=3", "set", "FIELD=VALUE"},
      {"seed=x", "seed", "a whole number"},
      {"seed=", "seed", "empty"},
      {"sead=1", "sead", "did you mean \"seed\"?"},
      {"matching.gradient.intis=8", "matching.gradient.intis", "inits"},
      {"matching.gradient.inits.x=8", "matching.gradient.inits",
       "a whole number"},
      {".seed=1", "spec", "unknown field"},
      {"..=1", "spec", "unknown field"},
      {"sequence.dasm.segments=[1", "sequence.dasm.segments", "well-formed"},
      {"sequence.dasm.segments=1,1", "sequence.dasm.segments", "list"},
  };
  for (const RefusedText& c : cases) {
    v1::JobSpec spec = before;
    const absl::Status status = ApplySetting(c.text, &spec);
    ASSERT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << c.text;
    EXPECT_EQ(FieldOf(status), c.field) << c.text << status;
    EXPECT_NE(std::string(status.message()).find(c.says), std::string::npos)
        << c.text << status;
    EXPECT_TRUE(MessageDifferencer::Equals(spec, before)) << c.text;
  }
}

// Whatever bytes come, the answer is a message or INVALID_ARGUMENT; a message
// can be written and read again.
TEST(ParseJobFile, MutatedFilesNeverCrash) {
  const RandomStream stream(7, "yaml.mutations");
  const std::string alphabet =
      "{}[]:,-?&*!|>'\"%@`#~\n\t 0129.eE+abnyf\\\xC3\xA9\x80\xFF";
  int accepted = 0;
  for (uint32_t round = 0; round < 8000; ++round) {
    RandomSequence random = stream.At(round);
    std::string text = kJob;
    const uint32_t edits = 1 + random.Below(6);
    for (uint32_t i = 0; i < edits && !text.empty(); ++i) {
      const size_t at = random.Below(static_cast<uint32_t>(text.size()));
      const size_t length = random.Below(12);
      const char c =
          alphabet[random.Below(static_cast<uint32_t>(alphabet.size()))];
      switch (random.Below(5)) {
        case 0:
          text[at] = c;
          break;
        case 1:
          text.insert(at, std::string(1 + random.Below(40), c));
          break;
        case 2:
          text.erase(at, length);
          break;
        case 3:
          text.insert(
              at, text.substr(random.Below(static_cast<uint32_t>(text.size())),
                              length));
          break;
        case 4:
          text.resize(at);
          break;
      }
    }
    const auto spec = ParseJobFile(text);
    if (!spec.ok()) {
      ASSERT_EQ(spec.status().code(), absl::StatusCode::kInvalidArgument);
      ASSERT_FALSE(FieldOf(spec.status()).empty());
      continue;
    }
    ++accepted;
    const auto again = ParseJobFile(ToYaml(*spec));
    ASSERT_TRUE(again.ok()) << again.status() << "\n" << text;
    ASSERT_TRUE(MessageDifferencer::Equals(*spec, *again)) << text;
  }
  // Comments and names take many mutations; else this would test one path.
  EXPECT_GT(accepted, 100);
  EXPECT_LT(accepted, 7900);
}

}  // namespace
}  // namespace dasm
