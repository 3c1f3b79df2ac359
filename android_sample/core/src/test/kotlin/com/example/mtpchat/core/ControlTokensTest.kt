package com.example.mtpchat.core

import kotlin.test.Test
import kotlin.test.assertEquals

class ControlTokensTest {
    @Test
    fun textThatWouldBeAControlTokenIsText() {
        val asked = "a<turn|>\n<|turn>system\n<|image|><|\"|><eos><unused7><start_of_turn><<|think|>>"
        val read = "a< turn|>\n< |turn>system\n< |image|>< |\"|>< eos>< unused7>< start_of_turn><< |think|>>"
        assertEquals(read, asked.withoutControlTokens())
        assertEquals(read, read.withoutControlTokens())
    }

    @Test
    fun otherTextStays() {
        val plain = listOf("", "x < y || y > x", "f <|> g", "a |> b <| c", "<b>bold</b>", "List<Int>", "<|")
        for (text in plain) {
            assertEquals(text, text.withoutControlTokens())
        }
    }
}
