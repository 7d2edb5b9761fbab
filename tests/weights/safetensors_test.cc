// SPDX-License-Identifier: Apache-2.0
#include "weights/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <numeric>

#include "core/error_format.h"
#include "tests/weights/made_files.h"
#include "tests/weights/temporary_folder.h"

namespace nextscale {
namespace {

std::vector<float> ascending(size_t count) {
  std::vector<float> values(count);
  std::iota(values.begin(), values.end(), 0.0F);
  return values;
}

void write_two(const std::filesystem::path& path) {
  const std::vector<float> values = ascending(6);
  const std::vector<int64_t> number{-7};
  SafetensorsWriter writer(path,
                           {{"matrix", DType::kF32, Shape{2, 3}}, {"number", DType::kI64, Shape{}}},
                           {{"made", "here"}});
  writer.write(std::as_bytes(std::span(values)).first(10));
  writer.write(std::as_bytes(std::span(values)).subspan(10));
  writer.write(std::as_bytes(std::span(number)));
  writer.finish();
}

// Lets files grow to so many bytes, as a disk that fills up does.
class SmallDisk {
 public:
  explicit SmallDisk(rlim_t bytes) : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit{bytes, before_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~SmallDisk() {
    setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;

 private:
  rlimit before_{};
  void (*handler_)(int);
};

TEST(Safetensors, WhatIsWrittenIsRead) {
  const TemporaryFolder folder;
  write_two(folder / "two.safetensors");
  const SafetensorsFile file(folder / "two.safetensors");
  ASSERT_EQ(file.tensors().size(), 2U);
  const ConstTensorView matrix = file.view("matrix");
  EXPECT_EQ(matrix.shape, (Shape{2, 3}));
  EXPECT_EQ(std::vector<float>(matrix.as<float>(), matrix.as<float>() + 6), ascending(6));
  EXPECT_EQ(*file.view("number").as<int64_t>(), -7);
  EXPECT_EQ(file.metadata().at("made"), "here");
}

TEST(Safetensors, ReadGivesWhatViewShows) {
  const TemporaryFolder folder;
  write_two(folder / "two.safetensors");
  const auto checkpoint = Checkpoint::open(folder / "two.safetensors");
  std::vector<float> values(6);
  checkpoint->read("matrix", std::as_writable_bytes(std::span(values)));
  EXPECT_EQ(values, ascending(6));
}

TEST(Safetensors, DroppedTensorsCanBeReadAgain) {
  const TemporaryFolder folder;
  write_two(folder / "two.safetensors");
  const SafetensorsFile file(folder / "two.safetensors");
  file.drop("matrix");
  EXPECT_EQ(file.view("matrix").as<float>()[5], 5.0F);
}

TEST(Safetensors, DataStartsAtACacheLine) {
  const TemporaryFolder folder;
  write_two(folder / "two.safetensors");
  const SafetensorsFile file(folder / "two.safetensors");
  EXPECT_EQ(reinterpret_cast<uintptr_t>(file.view("matrix").data) % 64, 0U);
}

TEST(Safetensors, AlignedOrderPutsEveryTensorWhereItsElementsMayLie) {
  std::vector<TensorInfo> tensors{{"odd", DType::kU8, Shape{3}},
                                  {"half", DType::kBF16, Shape{5}},
                                  {"full", DType::kF32, Shape{16}},
                                  {"word", DType::kF32, Shape{1}},
                                  {"line", DType::kBF16, Shape{32}}};
  aligned_order(tensors);
  size_t offset = 0;
  for (const TensorInfo& tensor : tensors) {
    EXPECT_EQ(offset % dtype_bytes(tensor.dtype), 0U) << tensor.name;
    const size_t line = tensor.num_bytes() % 64 == 0 ? 64 : 1;
    EXPECT_EQ(offset % line, 0U) << tensor.name;
    offset += tensor.num_bytes();
  }
}

TEST(Safetensors, MisalignedForeignTensorIsReadButNotViewed) {
  const TemporaryFolder folder;
  std::string header = one_tensor_header("F32", "[1]", "[1,5]");
  header.append(8 - header.size() % 8, ' ');
  write_file(folder / "odd.safetensors", made_safetensors(header, 5));
  SafetensorsFile file(folder / "odd.safetensors");
  float value = 1.0F;
  file.read("a", std::as_writable_bytes(std::span(&value, 1)));
  EXPECT_EQ(value, 0.0F);
  EXPECT_THAT([&] { file.view("a"); },
              testing::ThrowsMessage<Error>(testing::HasSubstr("odd address")));
}

TEST(Safetensors, UnknownTypeIsNamedOnlyWhenAskedFor) {
  const TemporaryFolder folder;
  write_file(folder / "f64.safetensors",
             made_safetensors(one_tensor_header("F64", "[2]", "[0,16]"), 16));
  SafetensorsFile file(folder / "f64.safetensors");
  EXPECT_TRUE(file.tensors().empty());
  EXPECT_THAT([&] { file.read("a", {}); },
              testing::ThrowsMessage<Error>(testing::HasSubstr("has the type F64")));
}

TEST(Safetensors, AbsentTensorIsAMismatch) {
  const TemporaryFolder folder;
  write_two(folder / "two.safetensors");
  const SafetensorsFile file(folder / "two.safetensors");
  try {
    file.view("head.bias");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kMismatch);
    EXPECT_THAT(error.what(), testing::HasSubstr("has no tensor 'head.bias'"));
  }
}

TEST(Safetensors, UnfinishedFileLeavesNothing) {
  const TemporaryFolder folder;
  { const SafetensorsWriter writer(folder / "x.safetensors", {{"a", DType::kF32, Shape{4}}}); }
  EXPECT_TRUE(folder.names().empty());
}

TEST(Safetensors, FullDiskIsAnErrorAndLeavesNothing) {
  const TemporaryFolder folder;
  const std::vector<std::byte> megabyte(1 << 20);
  ErrorCode code = ErrorCode::kInternal;
  try {
    const SmallDisk disk(100'000);
    SafetensorsWriter writer(folder / "x.safetensors", {{"a", DType::kU8, Shape{1 << 20}}});
    writer.write(megabyte);
    writer.finish();
  } catch (const Error& error) {
    code = error.code();
  }
  EXPECT_EQ(code, ErrorCode::kIo);
  EXPECT_TRUE(folder.names().empty());
}

TEST(ShardedSafetensors, JoinsItsShards) {
  const TemporaryFolder folder;
  write_file(folder / "m-1.safetensors",
             made_safetensors(one_tensor_header("F32", "[4]", "[0,16]"), 16));
  write_two(folder / "m-2.safetensors");
  write_file(folder / "m.safetensors.index.json",
             R"({"weight_map":{"a":"m-1.safetensors","matrix":"m-2.safetensors"}})");
  const auto checkpoint = Checkpoint::open(folder.path());
  ASSERT_EQ(checkpoint->tensors().size(), 2U);
  EXPECT_EQ(checkpoint->files().size(), 3U);
  std::vector<float> values(6);
  checkpoint->read("matrix", std::as_writable_bytes(std::span(values)));
  EXPECT_EQ(values, ascending(6));
}

TEST(ShardedSafetensors, NamesATensorThatItsShardLacks) {
  const TemporaryFolder folder;
  write_two(folder / "m-1.safetensors");
  write_file(folder / "m.safetensors.index.json", R"({"weight_map":{"other":"m-1.safetensors"}})");
  EXPECT_THAT([&] { Checkpoint::open(folder.path()); },
              testing::ThrowsMessage<Error>(testing::HasSubstr("has no tensor 'other'")));
}

TEST(Sha256, MatchesThePublishedTestVector) {
  EXPECT_EQ(sha256_hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(Sha256, OfAFileIsThatOfItsBytes) {
  const TemporaryFolder folder;
  write_file(folder / "abc", "abc");
  uint64_t seen = 0;
  EXPECT_EQ(sha256_of_file(folder / "abc", [&](uint64_t bytes) { seen += bytes; }),
            sha256_hex("abc"));
  EXPECT_EQ(seen, 3U);
}

}  // namespace
}  // namespace nextscale
