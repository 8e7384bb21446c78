#include "common/dataset/npy.h"

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "common/base/error.h"
#include "common/dataset/reader.h"
#include "common/dataset/test_files.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace dasm {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

template <typename T>
void ExpectBadData(const absl::StatusOr<T>& result, const std::string& what) {
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(FailureClassOf(result.status()), FailureClass::kData);
  EXPECT_THAT(std::string(result.status().message()), HasSubstr(what));
}

absl::StatusOr<NpyHeader> Parse(const std::string& bytes) {
  return ParseNpyHeader(bytes, static_cast<int64_t>(bytes.size()), "a.npy");
}

// A header with any text.
std::string WithDict(const std::string& dict) {
  std::string out = "\x93NUMPY";
  out += std::string("\x01\x00", 2);
  out.push_back(static_cast<char>(dict.size() & 0xff));
  out.push_back(static_cast<char>(dict.size() >> 8));
  return out + dict;
}

const float kNan = std::numeric_limits<float>::quiet_NaN();

TEST(Npy, ShapeAndValuesAreRead) {
  const std::string bytes = NpyF4({2, 3}, {0, 1, 2, 3, 4, 5.5});
  const auto header = Parse(bytes);
  ASSERT_TRUE(header.ok()) << header.status();
  EXPECT_EQ(header->shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(*NpyFloats(*header, bytes, "a.npy"),
            (std::vector<float>{0, 1, 2, 3, 4, 5.5}));
  ExpectBadData(NpyIntegers(*header, bytes, "a.npy"), "a.npy: floats where");
}

TEST(Npy, DoublesAreRoundedAndInt32Widened) {
  const double values[2] = {0.1, -2.0};
  const std::string doubles =
      Npy("<f8", {2}, {reinterpret_cast<const char*>(values), 16});
  EXPECT_EQ(*NpyFloats(*Parse(doubles), doubles, "a"),
            (std::vector<float>{0.1f, -2.0f}));
  const int32_t numbers[2] = {7, -1};
  const std::string ints =
      Npy("<i4", {2}, {reinterpret_cast<const char*>(numbers), 8});
  EXPECT_EQ(*NpyIntegers(*Parse(ints), ints, "a"),
            (std::vector<int64_t>{7, -1}));
  ExpectBadData(NpyFloats(*Parse(ints), ints, "a.npy"), "integers where");
}

TEST(Npy, ValuesThatAreNotFiniteAreNamedWithTheirIndex) {
  const std::string bytes = NpyF4({2, 3}, {0, 1, 2, 3, kNan, 5});
  ExpectBadData(NpyFloats(*Parse(bytes), bytes, "a.npy"),
                "a.npy: NaN at index [1, 1]");
  const std::string infinite = NpyF4({2}, {0, -HUGE_VALF});
  ExpectBadData(NpyFloats(*Parse(infinite), infinite, "a.npy"),
                "infinity at index [1]");
  const double large = 1e300;
  const std::string beyond =
      Npy("<f8", {1}, {reinterpret_cast<const char*>(&large), 8});
  ExpectBadData(NpyFloats(*Parse(beyond), beyond, "a.npy"), "beyond float32");
}

TEST(Npy, PicklesAreRefused) {
  ExpectBadData(Parse(Npy("|O", {1}, "\x80\x04K\x01.")), "never read");
}

TEST(Npy, OtherTypesAndLayoutsAreRefusedWithARemedy) {
  ExpectBadData(Parse(Npy(">f4", {1}, "abcd")), "little endian");
  ExpectBadData(Parse(Npy("<f2", {2}, "abcd")), "type <f2");
  ExpectBadData(Parse(Npy("<f4", {1, 1}, "abcd", "True")), "ascontiguousarray");
  ExpectBadData(Parse(WithDict("{'descr': [('a', '<f4')], 'fortran_order': "
                               "False, 'shape': (1,), }")),
                "not understood");
}

TEST(Npy, HeaderIsParsedNotEvaluated) {
  for (const char* dict :
       {"__import__('os')", "{'descr': '<f4'}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1), } or 1",
        "{'descr': '<f4', 'fortran_order': 0, 'shape': (1,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2**40,)}",
        "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': "
        "(1,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'x': 1}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': "
        "(1,1,1,1,1,1,1,1,1)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': "
        "(99999999999999999999,)}",
        "{", ""}) {
    ExpectBadData(Parse(WithDict(dict) + "abcd"), "not understood");
  }
}

TEST(Npy, SizesThatDoNotFitAreRefused) {
  const std::string bytes = NpyF4({4}, {1, 2, 3, 4});
  ExpectBadData(Parse(bytes.substr(0, bytes.size() - 1)), "truncated");
  ExpectBadData(Parse(bytes + "x"), "longer or shorter");
  ExpectBadData(Parse(bytes.substr(0, 20)), "truncated or overlong");
  ExpectBadData(Parse("\x93NUM"), "not a .npy array");
  // 2^48 elements in 16 bytes: refused by arithmetic, not by allocation.
  ExpectBadData(Parse(Npy("<f4", {1 << 24, 1 << 24}, "0123456789abcdef")),
                "truncated");
  ExpectBadData(Parse(Npy("<f4", {0}, "")), "empty");
}

// numpy.savez and numpy.savez_compressed of images arange(8) / 8 [2, 1, 2, 2]
// and labels [1, 0], by NumPy 2.4: with its zip64 fields.
constexpr char kSavez[] =
    "UEsDBC0AAAAAAAAAIQChtvL1//////////8KABQAaW1hZ2VzLm5weQEAEACgAAAAAAAA"
    "AKAAAAAAAAAAk05VTVBZAQB2AHsnZGVzY3InOiAnPGY0JywgJ2ZvcnRyYW5fb3JkZXIn"
    "OiBGYWxzZSwgJ3NoYXBlJzogKDIsIDEsIDIsIDIpLCB9ICAgICAgICAgICAgICAgICAg"
    "ICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIAoAAAAAAAAAPgAAgD4AAMA+"
    "AAAAPwAAID8AAEA/AABgP1BLAwQtAAAAAAAAACEAcfs5q///////////CgAUAGxhYmVs"
    "cy5ucHkBABAAkAAAAAAAAACQAAAAAAAAAJNOVU1QWQEAdgB7J2Rlc2NyJzogJzxpOCcs"
    "ICdmb3J0cmFuX29yZGVyJzogRmFsc2UsICdzaGFwZSc6ICgyLCksIH0gICAgICAgICAg"
    "ICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAK"
    "AQAAAAAAAAAAAAAAAAAAAFBLAQItAy0AAAAAAAAAIQChtvL1oAAAAKAAAAAKAAAAAAAA"
    "AAAAAACAAQAAAABpbWFnZXMubnB5UEsBAi0DLQAAAAAAAAAhAHH7OauQAAAAkAAAAAoA"
    "AAAAAAAAAAAAAIAB3AAAAGxhYmVscy5ucHlQSwUGAAAAAAIAAgBwAAAAqAEAAAAA";
constexpr char kSavezCompressed[] =
    "UEsDBC0AAAAIAAAAIQChtvL1//////////8KABQAaW1hZ2VzLm5weQEAEACgAAAAAAAA"
    "AGAAAAAAAAAAm+wX6hsQychQxlCtnpJanFykbqWgbpNmoq6joJ6WX1RSlJgXn1+UkgoS"
    "d0vMKU4FihdnJBakAvkaRjoKhjoKQNJIU0ehVoEMwMUAAXYMDA1AfACIGewZGBSA2AGI"
    "E+wBUEsDBC0AAAAIAAAAIQBx+zmr//////////8KABQAbGFiZWxzLm5weQEAEACQAAAA"
    "AAAAAEgAAAAAAAAAm+wX6hsQychQxlCtnpJanFykbqWgbpNpoa6joJ6WX1RSlJgXn1+U"
    "kgoSd0vMKU4FihdnJBakAvkaRjqaOgq1ChQALkYGVAAAUEsBAi0DLQAAAAgAAAAhAKG2"
    "8vVgAAAAoAAAAAoAAAAAAAAAAAAAAIABAAAAAGltYWdlcy5ucHlQSwECLQMtAAAACAAA"
    "ACEAcfs5q0gAAACQAAAACgAAAAAAAAAAAAAAgAGcAAAAbGFiZWxzLm5weVBLBQYAAAAA"
    "AgACAHAAAAAgAQAAAAA=";

TEST(Npz, ArchivesOfNumPyAreRead) {
  TestFolder folder;
  for (const char* text : {kSavez, kSavezCompressed}) {
    std::string bytes;
    ASSERT_TRUE(absl::Base64Unescape(text, &bytes));
    const std::string path = folder.Write("set.npz", bytes);
    const auto set = ReadArraySet({{"npz", path, ""}});
    ASSERT_TRUE(set.ok()) << set.status();
    EXPECT_EQ(set->count, 2);
    EXPECT_EQ(set->channels, 1);
    EXPECT_EQ(set->height, 2);
    EXPECT_EQ(set->width, 2);
    EXPECT_EQ(set->images, (std::vector<float>{0, .125f, .25f, .375f, .5f,
                                               .625f, .75f, .875f}));
    EXPECT_EQ(set->labels, (std::vector<int64_t>{1, 0}));
  }
}

std::string GoodNpz(bool deflate) {
  return Npz({{"images", NpyF4({2, 1, 3, 3}, std::vector<float>(18, .5f))},
              {"labels", NpyI8({0, 1})}},
             deflate);
}

TEST(Npz, HeadsAreThoseOfTheMembers) {
  const std::string large =
      NpyF4({200, 1, 32, 32}, std::vector<float>(204800, 0.25f));
  for (bool deflate : {false, true}) {
    const std::string zip = Npz({{"images", large}}, deflate);
    const auto heads = ReadNpz(zip, "a.npz", true);
    ASSERT_TRUE(heads.ok()) << heads.status();
    EXPECT_EQ(heads->at("images").size, static_cast<int64_t>(large.size()));
    EXPECT_EQ(heads->at("images").bytes, large.substr(0, 65536));
    EXPECT_EQ(ReadNpz(zip, "a.npz", false)->at("images").bytes, large);
  }
}

TEST(Npz, DamageIsNamed) {
  ExpectBadData(ReadNpz("PK nonsense", "a.npz", false), "a.npz: not a .npz");
  ExpectBadData(ReadNpz("", "a.npz", false), "a.npz: not a .npz");
  for (bool deflate : {false, true}) {
    const std::string zip = GoodNpz(deflate);
    ExpectBadData(ReadNpz(zip.substr(0, zip.size() - 30), "a.npz", false),
                  "not a .npz");
    std::string flipped = zip;
    flipped[zip.find("NUMPY") == std::string::npos ? 60 : 200] ^= 1;
    ExpectBadData(ReadNpz(flipped, "a.npz", false), "damaged");
    // The same with its front cut off: the directory points nowhere.
    ExpectBadData(ReadNpz(zip.substr(40), "a.npz", false), "truncated");
  }
}

TEST(Npz, BombIsRefused) {
  // A directory that announces 4 GiB: refused before anything is inflated.
  std::string zip = GoodNpz(true);
  const size_t entry = zip.find("PK\x01\x02");
  zip.replace(entry + 24, 4, "\xfe\xff\xff\xff");
  ExpectBadData(ReadNpz(zip, "a.npz", false), "1 GiB");
}

TEST(ReadArraySet, SeparateArraysAreRead) {
  TestFolder folder;
  const auto set = ReadArraySet(
      {{"images", folder.Write("i.npy", NpyF4({2, 1, 1, 2}, {1, 2, 3, 4})), ""},
       {"labels", folder.Write("l.npy", NpyI8({5, 6})), ""}});
  ASSERT_TRUE(set.ok()) << set.status();
  EXPECT_EQ(set->labels, (std::vector<int64_t>{5, 6}));
  EXPECT_EQ(set->width, 2);
}

TEST(ReadArraySet, BadArraysAreNamed) {
  TestFolder folder;
  const auto read = [&](const std::string& images, const std::string& labels) {
    return ReadArraySet({{"images", folder.Write("i.npy", images), ""},
                         {"labels", folder.Write("l.npy", labels), ""}});
  };
  const std::string good = NpyF4({2, 1, 1, 2}, {1, 2, 3, 4});
  ExpectBadData(read(good, NpyI8({0, 1, 2})),
                "l.npy: not one label for each of the 2 images");
  ExpectBadData(read(NpyF4({2, 2}, {1, 2, 3, 4}), NpyI8({0, 1})),
                "i.npy: 2 dimensions");
  ExpectBadData(read(good, NpyI8({0, -1})), "l.npy: label -1 at index [1]");
  ExpectBadData(read(NpyF4({2, 1, 1, 2}, {1, kNan, 3, 4}), NpyI8({0, 1})),
                "i.npy: NaN at index [0, 0, 0, 1]");
  ExpectBadData(read(NpyF4({1, 28, 1, 1}, std::vector<float>(28)), NpyI8({0})),
                "channels first");
  const std::string path = folder.Write(
      "s.npz",
      Npz({{"images", NpyF4({1, 1, 1, 1}, {kNan})}, {"labels", NpyI8({0})}},
          true));
  ExpectBadData(ReadArraySet({{"npz", path, ""}}),
                absl::StrCat(path, ": images: NaN at index [0, 0, 0, 0]"));
  const std::string lone =
      folder.Write("lone.npz", Npz({{"images", good}}, true));
  ExpectBadData(ReadArraySet({{"npz", lone, ""}}), "no array labels");
  ExpectBadData(ReadArraySet({{"npz", folder.At("absent.npz"), ""}}),
                "absent.npz");
}

TEST(Npy, MutatedArraysNeverCrash) {
  TestFolder folder;
  const std::string labels = folder.Write("l.npy", NpyI8({0, 1}));
  const std::string npy = NpyF4({2, 1, 3, 3}, std::vector<float>(18, .5f));
  int read = 0;
  for (uint64_t seed = 0; seed < 2000; ++seed) {
    const std::string path = folder.Write("m", Mutated(npy, seed));
    read += ReadArraySet({{"images", path, ""}, {"labels", labels, ""}}).ok();
  }
  EXPECT_GT(read, 0);
  for (bool deflate : {false, true}) {
    for (uint64_t seed = 0; seed < 2000; ++seed) {
      const std::string bytes = Mutated(GoodNpz(deflate), seed);
      const auto heads = ReadNpz(bytes, "m", true);
      const auto whole = ReadNpz(bytes, "m", false);
      // What passes the checksum was not changed.
      if (!whole.ok() || !whole->contains("images")) continue;
      ++read;
      EXPECT_EQ(whole->at("images").bytes, npy);
    }
  }
}

}  // namespace
}  // namespace dasm
