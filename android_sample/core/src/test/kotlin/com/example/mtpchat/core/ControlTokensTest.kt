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
        for (text in listOf("", "x < y || y > x", "f <|> g", "a |> b <| c", "<b>bold</b>", "List<Int>", "<|", "|>")) {
            assertEquals(text, text.withoutControlTokens())
        }
    }
}
