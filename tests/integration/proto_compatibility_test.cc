// Whoever spoke to the last release must be able to speak to this build: every
// message, field, enum value and method of the stored descriptor set
// (tests/golden/protocol.binpb) still exists with the same number, type and
// name. Additions are fine. At a release the stored set is replaced by the
// build's generated/dasm.binpb.
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "google/protobuf/descriptor.pb.h"
#include "gtest/gtest.h"

namespace dasm {
namespace {

using google::protobuf::DescriptorProto;
using google::protobuf::EnumDescriptorProto;
using google::protobuf::FileDescriptorSet;
using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;

// Full name of an element -> what must not change about it.
using Surface = std::map<std::string, std::string>;

void AddEnum(const std::string& scope, const EnumDescriptorProto& type,
             Surface* surface) {
  for (const auto& value : type.value()) {
    (*surface)[absl::StrCat(scope, type.name(), ".", value.name())] =
        absl::StrCat("number ", value.number());
  }
}

void AddMessage(const std::string& scope, const DescriptorProto& type,
                Surface* surface) {
  const std::string name = absl::StrCat(scope, type.name(), ".");
  for (const auto& field : type.field()) {
    (*surface)[name + field.name()] =
        absl::StrCat("number ", field.number(), ", type ", field.type(), " ",
                     field.type_name(), ", label ", field.label());
  }
  for (const auto& nested : type.nested_type()) {
    AddMessage(name, nested, surface);
  }
  for (const auto& nested : type.enum_type()) AddEnum(name, nested, surface);
}

Surface SurfaceOf(const FileDescriptorSet& set) {
  Surface surface;
  for (const auto& file : set.file()) {
    if (!absl::StartsWith(file.package(), "dasm.")) continue;
    const std::string scope = absl::StrCat(file.package(), ".");
    for (const auto& type : file.message_type()) {
      AddMessage(scope, type, &surface);
    }
    for (const auto& type : file.enum_type()) AddEnum(scope, type, &surface);
    for (const auto& service : file.service()) {
      for (const auto& method : service.method()) {
        surface[absl::StrCat(scope, service.name(), ".", method.name())] =
            absl::StrCat(method.input_type(), " -> ", method.output_type(),
                         method.client_streaming() ? " client-streaming" : "",
                         method.server_streaming() ? " server-streaming" : "");
      }
    }
  }
  return surface;
}

std::vector<std::string> Breaks(const Surface& old_surface,
                                const Surface& new_surface) {
  std::vector<std::string> breaks;
  for (const auto& [name, what] : old_surface) {
    const auto found = new_surface.find(name);
    if (found == new_surface.end()) {
      breaks.push_back(absl::StrCat(name, " is gone"));
    } else if (found->second != what) {
      breaks.push_back(
          absl::StrCat(name, " was ", what, ", is ", found->second));
    }
  }
  return breaks;
}

FileDescriptorSet Load(const std::string& path) {
  std::ifstream stream(path, std::ios::binary);
  std::stringstream bytes;
  bytes << stream.rdbuf();
  FileDescriptorSet set;
  EXPECT_TRUE(set.ParseFromString(bytes.str())) << path;
  EXPECT_GT(set.file_size(), 0) << path;
  return set;
}

TEST(Protocol, KeepsEverythingThatTheStoredVersionHas) {
  EXPECT_THAT(Breaks(SurfaceOf(Load(DASM_STORED_PROTOCOL)),
                     SurfaceOf(Load(DASM_BUILT_PROTOCOL))),
              IsEmpty());
}

// The check itself must be able to fail.
TEST(Protocol, ARenumberedFieldAndARemovedMethodAreFound) {
  FileDescriptorSet changed = Load(DASM_STORED_PROTOCOL);
  const Surface before = SurfaceOf(changed);
  for (auto& file : *changed.mutable_file()) {
    if (file.name() == "dasm/v1/job.proto") {
      file.mutable_message_type(0)->mutable_field(0)->set_number(999);
    }
    if (file.name() == "dasm/v1/cluster.proto") {
      file.mutable_service(0)->mutable_method()->RemoveLast();
    }
  }
  const auto breaks = Breaks(before, SurfaceOf(changed));
  EXPECT_THAT(breaks, Contains(HasSubstr("dasm.v1.JobSpec.name was number 1")));
  EXPECT_THAT(breaks, Contains(HasSubstr("GetServerInfo is gone")));
}

}  // namespace
}  // namespace dasm
