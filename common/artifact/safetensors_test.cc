#include "common/artifact/safetensors.h"

#include <cstdint>
#include <cstring>
#include <iterator>
#include <limits>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/file_system.h"
#include "common/base/temporary_directory.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace dasm {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

// A file of a header that need not be right and `data_bytes` zeros.
std::string File(const std::string& header, size_t data_bytes = 0) {
  const uint64_t size = header.size();
  std::string file(sizeof(size), '\0');
  std::memcpy(file.data(), &size, sizeof(size));
  return file + header + std::string(data_bytes, '\0');
}

std::string Padded(std::string header) {
  header.append((8 - header.size() % 8) % 8, ' ');
  return header;
}

std::string Tensor(const std::string& dtype, const std::string& shape,
                   const std::string& offsets) {
  return absl::StrCat("{\"dtype\":\"", dtype, "\",\"shape\":", shape,
                      ",\"data_offsets\":", offsets, "}");
}

struct Example {
  std::vector<float> pixels = {
      0.0f, -0.0f, 1.5f, 1e-40f, -2.0f, std::numeric_limits<float>::infinity()};
  std::vector<int64_t> labels = {-1, std::numeric_limits<int64_t>::max()};
  std::vector<int32_t> segment = {7};
  std::vector<uint8_t> mask = {1, 2, 3};
  std::vector<double> scale = {3.25};

  std::map<std::string, TensorView> tensors() const {
    return {{"pixels", {DType::kF32, {1, 2, 3}, pixels.data()}},
            {"labels", {DType::kI64, {2}, labels.data()}},
            {"segment", {DType::kI32, {1}, segment.data()}},
            {"mask", {DType::kU8, {3}, mask.data()}},
            {"empty", {DType::kF32, {0, 4}, nullptr}},
            {"scale", {DType::kF64, {}, scale.data()}}};
  }
};

TEST(Safetensors, WhatIsWrittenIsReadBack) {
  const Example example;
  const auto directory = *TemporaryDirectory::Create();
  const std::string path = absl::StrCat(directory->path(), "/x.safetensors");
  ASSERT_TRUE(WriteSafetensors(path, example.tensors(),
                               {{"format", "dasm"}, {"note", "\"ü\n"}})
                  .ok());
  const auto file = SafetensorsFile::Open(path);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_THAT((*file)->metadata(),
              ElementsAre(Pair("format", "dasm"), Pair("note", "\"ü\n")));
  const auto wanted = example.tensors();
  ASSERT_EQ((*file)->tensors().size(), wanted.size());
  for (const auto& [name, tensor] : wanted) {
    const auto view = (*file)->Get(name, tensor.dtype, tensor.shape.size());
    ASSERT_TRUE(view.ok()) << view.status();
    EXPECT_EQ(view->shape, tensor.shape);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(view->data) % SizeOf(view->dtype), 0);
    if (tensor.size_bytes() > 0) {
      EXPECT_EQ(std::memcmp(view->data, tensor.data, tensor.size_bytes()), 0);
    }
  }
}

TEST(SafetensorsWriter, PiecesInAnyOrderGiveTheBytesOfTheWhole) {
  const Example example;
  const auto directory = *TemporaryDirectory::Create();
  const std::string whole = absl::StrCat(directory->path(), "/whole");
  const std::string pieces = absl::StrCat(directory->path(), "/pieces");
  const std::map<std::string, std::string> metadata = {{"note", "x"}};
  ASSERT_TRUE(WriteSafetensors(whole, example.tensors(), metadata).ok());

  std::map<std::string, TensorView> shapes = example.tensors();
  for (auto& [name, view] : shapes) view.data = nullptr;
  auto writer = SafetensorsWriter::Create(pieces, shapes, metadata);
  ASSERT_TRUE(writer.ok()) << writer.status();
  const auto put = [&](const std::string& name, int64_t from, int64_t to) {
    const auto* bytes =
        static_cast<const char*>(example.tensors().at(name).data);
    const absl::Status status =
        (*writer)->Write(name, from, std::string_view(bytes + from, to - from));
    EXPECT_TRUE(status.ok()) << status;
  };
  put("pixels", 16, 24);
  for (const char* name : {"labels", "segment", "mask", "scale"}) {
    put(name, 0, shapes.at(name).size_bytes());
  }
  EXPECT_EQ((*writer)->Commit().code(), absl::StatusCode::kInternal);
  EXPECT_FALSE(LocalFileSystem()->Exists(pieces));
  put("pixels", 0, 16);
  const auto view = (*writer)->View("pixels");
  ASSERT_TRUE(view.ok()) << view.status();
  EXPECT_EQ(std::memcmp(view->data, example.pixels.data(), 24), 0);
  ASSERT_TRUE((*writer)->Commit().ok());
  EXPECT_EQ(*LocalFileSystem()->Read(pieces), *LocalFileSystem()->Read(whole));
}

TEST(SafetensorsWriter, NothingIsLeftOfAFileThatIsNotCommitted) {
  const auto directory = *TemporaryDirectory::Create();
  const Example example;
  ASSERT_TRUE(
      SafetensorsWriter::Create(directory->path() + "/x", example.tensors())
          .ok());
  EXPECT_TRUE(LocalFileSystem()->List(directory->path())->empty());
  EXPECT_FALSE(
      SafetensorsWriter::Create("/nonexistent/folder/x", example.tensors())
          .ok());
}

TEST(Safetensors, FileAndMemoryAreTheSameBytes) {
  const Example example;
  const auto directory = *TemporaryDirectory::Create();
  const std::string path = absl::StrCat(directory->path(), "/x.safetensors");
  ASSERT_TRUE(WriteSafetensors(path, example.tensors(), {{"a", "b"}}).ok());
  EXPECT_EQ(*LocalFileSystem()->Read(path),
            SerializeSafetensors(example.tensors(), {{"a", "b"}}));
}

// The digest of every stored set depends on this layout.
TEST(Safetensors, BytesAreFrozen) {
  const int64_t label = 5;
  const uint8_t mask[] = {9, 8};
  const float pixel = 1.0f;
  const std::string header =
      "{\"__metadata__\":{\"k\":\"v\"},"
      "\"labels\":{\"data_offsets\":[0,8],\"dtype\":\"I64\",\"shape\":[1]},"
      "\"mask\":{\"data_offsets\":[12,14],\"dtype\":\"U8\",\"shape\":[2,1]},"
      "\"pixel\":{\"data_offsets\":[8,12],\"dtype\":\"F32\",\"shape\":[]}}";
  std::string wanted = File(Padded(header));
  wanted += std::string("\x05\0\0\0\0\0\0\0\0\0\x80\x3f\x09\x08", 14);
  EXPECT_EQ(SerializeSafetensors({{"pixel", {DType::kF32, {}, &pixel}},
                                  {"mask", {DType::kU8, {2, 1}, mask}},
                                  {"labels", {DType::kI64, {1}, &label}}},
                                 {{"k", "v"}}),
            wanted);
}

TEST(Safetensors, EmptyFileHasNoTensors) {
  const auto file = SafetensorsFile::Parse(SerializeSafetensors({}));
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_TRUE((*file)->tensors().empty());
  EXPECT_TRUE((*file)->metadata().empty());
}

TEST(Safetensors, TakesWhatOtherWritersWrite) {
  // Another order of members and tensors, blanks, escapes, padding.
  const auto file = SafetensorsFile::Parse(
      File(Padded("{ \"b\" : {\"shape\":[2], \"data_offsets\":[4,12], "
                  "\"dtype\":\"F32\"},"
                  " \"\\u0061\":{\"dtype\":\"I32\",\"shape\":[],\"data_"
                  "offsets\":[0,4]},"
                  "\"__metadata__\":{\"format\":\"pt\"}}"),
           12));
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_TRUE((*file)->Get("a", DType::kI32, 0).ok());
  EXPECT_TRUE((*file)->Get("b", DType::kF32, 1).ok());
}

TEST(Safetensors, GetNamesWhatDoesNotFit) {
  const Example example;
  const auto file =
      *SafetensorsFile::Parse(SerializeSafetensors(example.tensors()));
  const absl::Status missing = file->Get("images", DType::kF32, 4).status();
  EXPECT_EQ(missing.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(missing.message()), HasSubstr("\"images\""));
  EXPECT_EQ(file->Get("pixels", DType::kF64, 3).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(file->Get("pixels", DType::kF32, 4).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(Safetensors, WriterRefusesWhatTheFormatCannotHold) {
  const auto directory = *TemporaryDirectory::Create();
  const std::string path = absl::StrCat(directory->path(), "/x");
  const TensorView none = {DType::kF32, {0}, nullptr};
  EXPECT_EQ(WriteSafetensors(path, {{"\xff", none}}).code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(WriteSafetensors(path, {{"a", none}}, {{"k", "\xc3"}}).code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(WriteSafetensors(path, {{"__metadata__", none}}).code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_FALSE(LocalFileSystem()->Exists(path));
}

TEST(Safetensors, FileThatCannotBeOpenedIsNamed) {
  const auto directory = *TemporaryDirectory::Create();
  const std::string path = absl::StrCat(directory->path(), "/x");
  EXPECT_EQ(SafetensorsFile::Open(path).status().code(),
            absl::StatusCode::kNotFound);
  EXPECT_EQ(SafetensorsFile::Open(directory->path()).status().code(),
            absl::StatusCode::kInvalidArgument);
  for (const std::string& data : {std::string(), std::string("short")}) {
    ASSERT_TRUE(WriteFileAtomically(LocalFileSystem(), path, data).ok());
    const absl::Status status = SafetensorsFile::Open(path).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()), HasSubstr(path));
  }
}

struct Corrupt {
  const char* what;
  std::string bytes;
  const char* message;
};

TEST(Safetensors, CorruptInputIsRefusedWithTheReason) {
  const std::string f1 = Tensor("F32", "[1]", "[0,4]");
  const auto tensor = [](const std::string& body, size_t data_bytes) {
    return File(absl::StrCat("{\"a\":", body, "}"), data_bytes);
  };
  std::string huge_header(8, '\xff');
  std::string long_header = File("{}");
  long_header[0] = 3;
  std::string over_limit = File(std::string(100'000'001, ' '));
  over_limit[8] = '{';
  over_limit.back() = '}';
  std::string deep = "{\"a\":" + std::string(1'000'000, '[');
  std::string wide = "[0";
  for (int i = 0; i < 64; ++i) wide += ",0";
  const Corrupt cases[] = {
      {"empty", "", "shorter than 8"},
      {"no header", std::string(7, '\0'), "shorter than 8"},
      {"header length 0", File(""), "does not begin"},
      {"header length 1", File("{"), "does not begin"},
      {"header length of 2^64-1", huge_header + "{}", "exceeds"},
      {"header beyond the end", long_header, "exceeds"},
      {"header over the limit", over_limit, "exceeds"},
      {"blank first", File(" {}"), "does not begin"},
      {"array", File("[1]"), "does not begin"},
      {"unfinished", File("{\"a\":"), "not JSON"},
      {"two values", File("{}{}"), "not JSON"},
      {"zero byte", File(std::string("{}\0", 3)), "not JSON"},
      {"rest behind a zero byte", File(std::string("{}\0{]", 5)), "zero byte"},
      {"not UTF-8", File("{\"\xff\":1}"), "not JSON"},
      {"deep nesting", File(deep), "unexpected array"},
      {"deep objects", tensor("{\"dtype\":{}}", 0), "unexpected object"},
      {"nested numbers", tensor(Tensor("F32", "[[1]]", "[0,4]"), 4),
       "unexpected array"},
      {"object in numbers", tensor(Tensor("F32", "[{}]", "[0,4]"), 4),
       "unexpected object"},
      {"string in numbers", tensor(Tensor("F32", "[\"1\"]", "[0,4]"), 4),
       "unexpected string"},
      {"number for a tensor", tensor("1", 0), "unexpected number"},
      {"string for a tensor", tensor("\"F32\"", 0), "unexpected string"},
      {"null for a tensor", tensor("null", 0), "unexpected null"},
      {"array for a tensor", tensor("[]", 0), "unexpected array"},
      {"true for a shape", tensor(Tensor("F32", "true", "[0,4]"), 4),
       "unexpected boolean"},
      {"number for a shape", tensor(Tensor("F32", "1", "[0,4]"), 4),
       "unexpected number"},
      {"array for a dtype",
       tensor("{\"dtype\":[],\"shape\":[1],\"data_offsets\":[0,4]}", 4),
       "unexpected array"},
      {"negative size", tensor(Tensor("F32", "[-1]", "[0,4]"), 4),
       "unexpected negative"},
      {"fraction", tensor(Tensor("F32", "[1.0]", "[0,4]"), 4),
       "unexpected number that is not"},
      {"size of 2^64",
       tensor(Tensor("F32", "[18446744073709551616]", "[0,4]"), 4),
       "unexpected number that is not"},
      {"size of 2^63",
       tensor(Tensor("F32", "[9223372036854775808]", "[0,4]"), 4), "overflows"},
      {"product overflows",
       tensor(Tensor("F32", "[4294967296,4294967296,4294967296]", "[0,4]"), 4),
       "overflows"},
      {"product overflows to the right size",
       tensor(Tensor("U8", "[4294967296,4294967296,0]", "[0,0]"), 0),
       "overflows"},
      {"too many dimensions", tensor(Tensor("F32", wide + "]", "[0,0]"), 0),
       "more than 64"},
      {"no dtype", tensor("{\"shape\":[1],\"data_offsets\":[0,4]}", 4),
       "lacks"},
      {"no shape", tensor("{\"dtype\":\"F32\",\"data_offsets\":[0,4]}", 4),
       "lacks"},
      {"no offsets", tensor("{\"dtype\":\"F32\",\"shape\":[1]}", 4), "lacks"},
      {"unknown member",
       tensor("{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4],"
              "\"x\":1}",
              4),
       "has a member \"x\""},
      {"unknown dtype", tensor(Tensor("BF16", "[2]", "[0,4]"), 4), "BF16"},
      {"lower-case dtype", tensor(Tensor("f32", "[1]", "[0,4]"), 4), "f32"},
      {"one offset", tensor(Tensor("F32", "[1]", "[4]"), 4), "data_offsets"},
      {"three offsets", tensor(Tensor("F32", "[1]", "[0,4,4]"), 4),
       "data_offsets"},
      {"offsets reversed", tensor(Tensor("F32", "[1]", "[4,0]"), 4),
       "data_offsets"},
      {"offsets beyond the end", tensor(Tensor("F32", "[2]", "[0,8]"), 4),
       "data_offsets"},
      {"offsets of 2^64-1",
       tensor(
           Tensor("F32", "[1]", "[18446744073709551612,18446744073709551615]"),
           4),
       "data_offsets"},
      {"shape too small", tensor(Tensor("F32", "[1]", "[0,8]"), 8),
       "takes 4 bytes"},
      {"shape too large", tensor(Tensor("F32", "[2]", "[0,4]"), 4),
       "takes 8 bytes"},
      {"bytes at the end", tensor(f1, 5), "belong to no tensor"},
      {"hole at the start", tensor(Tensor("F32", "[1]", "[4,8]"), 8), "hole"},
      {"hole between",
       File(absl::StrCat("{\"a\":", f1,
                         ",\"b\":", Tensor("F32", "[1]", "[8,12]"), "}    "),
            12),
       "hole"},
      {"overlap",
       File(absl::StrCat("{\"a\":", Tensor("F32", "[2]", "[0,8]"),
                         ",\"b\":", Tensor("F32", "[2]", "[4,12]"), "}     "),
            12),
       "overlap"},
      {"same bytes twice",
       File(absl::StrCat("{\"a\":", f1, ",\"b\":", f1, "}"), 4), "overlap"},
      {"same tensor twice",
       File(absl::StrCat("{\"a\":", f1, ",\"a\":", f1, "}"), 4), "there twice"},
      {"same member twice",
       tensor("{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[1],"
              "\"data_offsets\":[0,4]}",
              4),
       "two members"},
      {"metadata twice", File("{\"__metadata__\":{},\"__metadata__\":{}}"),
       "there twice"},
      {"same metadata twice",
       File("{\"__metadata__\":{\"k\":\"1\",\"k\":\"2\"}}"), "there twice"},
      {"number in the metadata", File("{\"__metadata__\":{\"k\":1}}"),
       "unexpected number"},
      {"metadata is a string", File("{\"__metadata__\":\"x\"}"),
       "unexpected string"},
      {"control characters in a name",
       File("{\"\\u001b[2J\":" + Tensor("F32", "[1]", "[0,8]") + "}", 8),
       "tensor \"\\x1b[2J\""},
  };
  for (const Corrupt& corrupt : cases) {
    const absl::Status status = SafetensorsFile::Parse(corrupt.bytes).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument)
        << corrupt.what;
    EXPECT_THAT(std::string(status.message()), HasSubstr(corrupt.message))
        << corrupt.what;
  }
}

TEST(Safetensors, MisalignedDataIsRefused) {
  // One blank more puts the data off by one.
  const std::string header =
      Padded("{\"a\":" + Tensor("F32", "[1]", "[0,4]") + "}");
  EXPECT_TRUE(SafetensorsFile::Parse(File(header, 4)).ok());
  const absl::Status status =
      SafetensorsFile::Parse(File(header + " ", 4)).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("aligned"));
}

// Reads every byte a view promises, so that a sanitizer sees a wrong one.
uint64_t Touch(const SafetensorsFile& file) {
  uint64_t sum = 0;
  for (const auto& [name, view] : file.tensors()) {
    const auto* bytes = static_cast<const unsigned char*>(view.data);
    for (int64_t i = 0; i < view.size_bytes(); ++i) sum += bytes[i];
  }
  return sum;
}

// The short form of tests/fuzz/safetensors_fuzz.cc.
TEST(Safetensors, MutatedFilesNeverBreakTheReader) {
  const Example example;
  const std::string seeds[] = {
      SerializeSafetensors(example.tensors(), {{"format", "dasm"}}),
      SerializeSafetensors({}),
      File("{\"b\":" + Tensor("F32", "[2]", "[4,12]") +
               ",\"a\":" + Tensor("I32", "[]", "[0,4]") + "}   ",
           12)};
  const std::string words[] = {"0",
                               "9223372036854775807",
                               "18446744073709551615",
                               "-1",
                               "1e9",
                               "[",
                               "]",
                               "{",
                               "}",
                               "\"",
                               ",",
                               ":",
                               "\\u0000",
                               "null",
                               "F64",
                               "\"__metadata__\"",
                               "\xff",
                               std::string(1, '\0')};
  std::mt19937 random(1);
  const auto below = [&](size_t n) { return random() % n; };
  int accepted = 0;
  for (int round = 0; round < 6000; ++round) {
    std::string bytes = seeds[round % 3];
    for (size_t edits = 1 + below(4); edits > 0; --edits) {
      const size_t at = below(bytes.size() + 1);
      switch (below(6)) {
        case 0:
          if (at < bytes.size()) bytes[at] ^= 1 << below(8);
          break;
        case 1:
          bytes.insert(at, words[below(std::size(words))]);
          break;
        case 2:
          bytes.erase(at, below(9));
          break;
        case 3:
          bytes.replace(at, below(9), words[below(std::size(words))]);
          break;
        case 4:
          bytes.resize(at);
          break;
        case 5:
          bytes.insert(at, bytes.substr(below(bytes.size() + 1), below(64)));
          break;
      }
      // Most edits change the header's length: told right every other time,
      // so that they get as far as the JSON.
      if (bytes.size() > 8 && below(2) == 0) {
        const size_t end = bytes.rfind('}');
        const uint64_t size =
            end == std::string::npos || end < 8 ? 0 : end + 1 - 8;
        std::memcpy(bytes.data(), &size, sizeof(size));
      }
    }
    const auto file = SafetensorsFile::Parse(bytes);
    if (file.ok()) {
      ++accepted;
      Touch(**file);
    } else {
      EXPECT_EQ(file.status().code(), absl::StatusCode::kInvalidArgument);
    }
  }
  // Some edits only touch data or names; most must be noticed.
  EXPECT_GT(accepted, 0);
  EXPECT_LT(accepted, 3000);
}

}  // namespace
}  // namespace dasm
