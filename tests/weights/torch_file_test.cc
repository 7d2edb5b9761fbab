// SPDX-License-Identifier: Apache-2.0
#include "weights/torch_file.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "apps/random_checkpoint/pickle_writer.h"
#include "apps/random_checkpoint/torch_writer.h"
#include "core/error_format.h"
#include "tests/weights/made_files.h"
#include "tests/weights/temporary_folder.h"

namespace nextscale {
namespace {

using testing::ElementsAre;

std::vector<uint8_t> read_bytes(Checkpoint& checkpoint, std::string_view name) {
  std::vector<uint8_t> bytes(checkpoint.find(name)->num_bytes());
  checkpoint.read(name, std::as_writable_bytes(std::span(bytes)));
  return bytes;
}

// Reads the tensor "w" of bytes 0, 1, … 15 seen through a window.
std::vector<uint8_t> read_window(int64_t offset, const std::vector<int64_t>& sizes,
                                 const std::vector<int64_t>& strides) {
  const TemporaryFolder folder;
  write_file(folder / "w.pth",
             made_torch(one_tensor_pickle(16, offset, sizes, strides, "0", "ByteStorage")));
  const auto checkpoint = Checkpoint::open(folder / "w.pth");
  return read_bytes(*checkpoint, "w");
}

TEST(TorchFile, ReadsAWindowOfAStorage) {
  EXPECT_THAT(read_window(5, {3}, {1}), ElementsAre(5, 6, 7));
}

TEST(TorchFile, MakesTransposedTensorsContiguous) {
  EXPECT_THAT(read_window(2, {3, 2}, {1, 3}), ElementsAre(2, 5, 3, 6, 4, 7));
}

TEST(TorchFile, RepeatsExpandedTensors) {
  EXPECT_THAT(read_window(7, {2, 2}, {0, 1}), ElementsAre(7, 8, 7, 8));
}

TEST(TorchFile, IgnoresStridesOfSingleElements) {
  EXPECT_THAT(read_window(1, {1, 2}, {99, 1}), ElementsAre(1, 2));
}

TEST(TorchFile, ReadsScalarsAndEmptyTensors) {
  EXPECT_THAT(read_window(15, {}, {}), ElementsAre(15));
  EXPECT_THAT(read_window(16, {0, 4}, {4, 1}), ElementsAre());
}

TEST(TorchFile, KnowsEveryElementType) {
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16, DType::kI8, DType::kU8,
                            DType::kI32, DType::kI64, DType::kBool}) {
    const TemporaryFolder folder;
    const TensorInfo info{"t", dtype, Shape{2}};
    const uint64_t bytes = info.num_bytes();
    write_torch_file(folder / "t.pth", "t", flat_torch_pickle({&info, 1}),
                     {{"0", bytes, [](uint64_t, std::span<std::byte> out) {
                         std::ranges::fill(out, std::byte{1});
                       }}});
    const auto checkpoint = Checkpoint::open(folder / "t.pth");
    ASSERT_NE(checkpoint->find("t"), nullptr);
    EXPECT_EQ(checkpoint->find("t")->dtype, dtype);
    EXPECT_EQ(read_bytes(*checkpoint, "t"), std::vector<uint8_t>(bytes, 1));
  }
}

TEST(TorchFile, RefusesAnUnknownElementTypeOnlyWhenAsked) {
  const TemporaryFolder folder;
  write_file(folder / "t.pth", made_torch(one_tensor_pickle(2, 0, {2}, {1}, "0", "DoubleStorage")));
  const auto checkpoint = Checkpoint::open(folder / "t.pth");
  EXPECT_EQ(checkpoint->find("w"), nullptr);
  EXPECT_THAT([&] { checkpoint->read("w", {}); },
              testing::ThrowsMessage<Error>(testing::HasSubstr("tensor 'w' of")));
}

TEST(TorchFile, FlattensNestedDictionariesAndSkipsPlainValues) {
  const std::vector<int64_t> four{4};
  const std::vector<int64_t> one{1};
  const PickleWriter::Window window{.storage_elements = 4, .sizes = four, .strides = one};
  PickleWriter pickle;
  pickle.empty_dict().mark().text("epoch").integer(7).text("lr").raw("N");
  pickle.text("trainer")
      .empty_dict()
      .text("var_wo_ddp")
      .empty_dict()
      .text("x")
      .tensor(window)
      .set_item()
      .set_item();
  pickle.text("names").raw("]").mark().text("a").text("b").raw("e");
  pickle.text("state").empty_dict().integer(3).tensor(window).set_item().set_items();
  const TemporaryFolder folder;
  write_file(folder / "t.pth", made_torch(pickle.finish()));
  const auto checkpoint = Checkpoint::open(folder / "t.pth");
  ASSERT_EQ(checkpoint->tensors().size(), 2U);
  EXPECT_EQ(checkpoint->tensors()[0].name, "state/3");
  EXPECT_EQ(checkpoint->tensors()[1].name, "trainer/var_wo_ddp/x");
}

TEST(TorchFile, ReadsTensorsWrappedByTheirType) {
  const auto checkpoint = Checkpoint::open(test_data("infinity/tiny_a/infinity.pth"));
  EXPECT_EQ(checkpoint->format(), "torch");
  EXPECT_EQ(checkpoint->tensors().size(), 106U);
  EXPECT_EQ(checkpoint->find("cfg_uncond")->shape, (Shape{32, 256}));
}

TEST(TorchFile, ReadsOfficialBuffersThroughPooledStorages) {
  const auto checkpoint = Checkpoint::open(test_data("var/tiny_a/var.pth"));
  const TensorInfo* info = checkpoint->find("lvl_1L");
  ASSERT_EQ(info->shape, (Shape{1, 30}));
  std::vector<int64_t> levels(30);
  checkpoint->read("lvl_1L", std::as_writable_bytes(std::span(levels)));
  EXPECT_EQ(levels[0], 0);
  EXPECT_EQ(levels[1], 1);
  EXPECT_EQ(levels[13], 2);
  EXPECT_EQ(levels[29], 3);
  std::vector<float> zeros(128, 1.0F);
  checkpoint->read("blocks.1.attn.zero_k_bias", std::as_writable_bytes(std::span(zeros)));
  EXPECT_THAT(zeros, testing::Each(0.0F));
}

}  // namespace
}  // namespace nextscale
